// The edge function worker whose pauses of up to 10 ms, the shortest poll interval, take no time.
const { setTimeout } = globalThis;
globalThis.setTimeout =
  ((act: () => void, ms?: number) => setTimeout(act, ms !== undefined && ms <= 10 ? 0 : ms)) as typeof setTimeout; // Node's types want a promisified variant too

const { default: worker } = await import("../../functions/worker/index.ts");
export default worker;
