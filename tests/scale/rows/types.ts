// Thousands of registered message types against a few.
import { asJson, claim, firstCallMs, medianMs, monitoringLine, tickLine } from "../calls.ts";
import { timed } from "../../bench/timed.ts";
import type { Line } from "../line.ts";
import { type Row, type ScaleSetup, vacuum } from "../setup.ts";

const PER_CALL = 1_000; // elements that one call of messenger_register takes
const PER_DISPATCH = 20; // dispatches per sample

export const typesRow: Row = {
  name: "types",
  async measure(setup) {
    const { few, many } = setup.sizes.types;
    const fewFigures = await figuresOf(setup, few);
    const manyFigures = await figuresOf(setup, many);
    const beside = `${many.toLocaleString("en-US")} types`;
    const lines = manyFigures.map(({ label, value }, index): Line => ({
      label: `${label}, ${beside}`,
      unit: "ms",
      value,
      note: `With ${few} types: ${fewFigures[index].value.toPrecision(3)} ms.`,
    }));
    lines.push(await tickLine(setup, beside), await monitoringLine(setup, beside));
    return lines;
  },
};

async function figuresOf(setup: ScaleSetup, count: number): Promise<{ label: string; value: number }[]> {
  const { admin, service, sizes, report } = setup;
  const types = Array.from({ length: count }, (_, n) => `Scale${n}`);
  const register = async () => {
    for (let n = 0; n < count; n += PER_CALL) {
      const batch = types.slice(n, n + PER_CALL).map((type) => ({ type, queue: "scale", retry: { max_retries: 5 } }));
      await service`select messenger_register(${service.json(asJson(batch))})`;
    }
  };
  report(`registering ${count} types`);
  const first = await timed(register);
  const again = await medianMs(sizes.calls, register);
  await vacuum(admin);
  let next = 0;
  const dispatch = async () => {
    for (let n = 0; n < PER_DISPATCH; n++) await service`select * from messenger_dispatch(${types[next++ % count]})`;
  };
  const dispatched = await medianMs(sizes.calls, dispatch) / PER_DISPATCH;
  const own = types.slice(0, 10);
  const figures = [
    { label: "registration of all types", value: first },
    { label: "registration of all types again", value: again },
    { label: "dispatch", value: dispatched },
    {
      label: "first dispatch of a session",
      value: await firstCallMs(setup, (sql) => sql`select * from messenger_dispatch(${types[0]})`),
    },
    { label: "claim of 10 messages of 10 types", value: await medianMs(sizes.calls, () => claim(service, 10, own)) },
    { label: "claim of 10 messages of all types", value: await medianMs(sizes.calls, () => claim(service, 10, types)) },
    { label: "first claim of a session", value: await firstCallMs(setup, (sql) => claim(sql, 10, own)) },
  ];
  await setup.bus.empty();
  return figures;
}
