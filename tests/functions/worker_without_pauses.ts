// The worker edge function with a clock that skips pauses of up to 10 ms, the shortest poll interval.
const { setTimeout } = globalThis;
Object.assign(globalThis, { setTimeout: (act: () => void, ms = 0) => setTimeout(act, ms <= 10 ? 0 : ms) });

const { default: worker } = await import("../../functions/worker/index.ts");
export default worker;
