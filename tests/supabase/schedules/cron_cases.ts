// Cron expressions as people and programs write them, and time zones with the years of their changes.
import fc from "fast-check";

/** Zones with two years of changes each: half an hour, two hours, a whole day, at midnight, and none. */
export const zones: [timezone: string, from: number, to: number][] = [
  ["UTC", 2025, 2026],
  ["Europe/Berlin", 2025, 2026],
  ["Europe/London", 2025, 2026],
  ["Europe/Dublin", 2025, 2026],
  ["Europe/Chisinau", 2024, 2025],
  ["America/New_York", 2025, 2026],
  ["America/Los_Angeles", 2025, 2026],
  ["America/St_Johns", 2009, 2010],
  ["America/Sao_Paulo", 2017, 2018],
  ["America/Santiago", 2024, 2025],
  ["America/Havana", 2024, 2025],
  ["Africa/Cairo", 2024, 2025],
  ["Africa/Casablanca", 2024, 2025],
  ["Asia/Beirut", 2024, 2025],
  ["Asia/Tehran", 2020, 2021],
  ["Asia/Kolkata", 2025, 2026],
  ["Australia/Lord_Howe", 2024, 2025],
  ["Pacific/Auckland", 2024, 2025],
  ["Pacific/Apia", 2011, 2012],
  ["Antarctica/Troll", 2024, 2025],
];

const months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const weekdays = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

function field(lowest: number, highest: number, names: string[] = [], stars = 4): fc.Arbitrary<string> {
  const value = fc.integer({ min: lowest, max: highest });
  const name = (n: number, spelled: boolean) => spelled && names[n - lowest] ? names[n - lowest] : String(n);
  const range = fc.tuple(value, value, fc.boolean()).map(([a, b, spelled]) =>
    `${name(Math.min(a, b), spelled)}-${name(Math.max(a, b), spelled)}`
  );
  const step = fc.integer({ min: 1, max: Math.ceil(highest * 0.7) });
  return fc.oneof(
    { weight: stars, arbitrary: fc.constant("*") },
    { weight: 1, arbitrary: fc.constant("?") },
    { weight: 6, arbitrary: fc.tuple(value, fc.boolean()).map(([n, spelled]) => name(n, spelled)) },
    { weight: 2, arbitrary: range },
    { weight: 2, arbitrary: step.map((n) => `*/${n}`) },
    { weight: 1, arbitrary: fc.tuple(range, step).map(([range, n]) => `${range}/${n}`) },
    { weight: 1, arbitrary: fc.tuple(value, step).map(([from, n]) => `${from}/${n}`) },
    {
      weight: 2,
      arbitrary: fc.uniqueArray(fc.oneof(value.map(String), range), { minLength: 2, maxLength: 4 }).map((list) =>
        list.join(",")
      ),
    },
  );
}

const day = fc.oneof(
  { weight: 10, arbitrary: field(1, 31, [], 8) },
  { weight: 1, arbitrary: fc.constantFrom("L", "15,L", "L,1-3") },
);
const weekday = fc.oneof(
  { weight: 8, arbitrary: field(0, 7, weekdays, 10) },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 1, max: 5 })).map(([d, n]) => `${d}#${n}`),
  },
  { weight: 1, arbitrary: fc.constantFrom("5L", "0L", "friL", "1,5L", "mon#1", "7#2") },
);
const upperOrNot = (text: fc.Arbitrary<string>) =>
  fc.tuple(text, fc.integer({ min: 0, max: 9 })).map(([text, n]) => n === 0 ? text.toUpperCase() : text);

const fiveFields = fc.tuple(
  field(0, 59),
  field(0, 23),
  day,
  fc.oneof({ weight: 4, arbitrary: fc.constant("*") }, { weight: 1, arbitrary: field(1, 12, months) }),
  weekday,
).map((fields) => fields.join(" "));
const sixFields = fc.tuple(field(0, 59, [], 1), fiveFields).map((fields) => fields.join(" "));

const expression = upperOrNot(
  fc.oneof({ weight: 4, arbitrary: fiveFields }, { weight: 1, arbitrary: sixFields }),
);

/** The same expressions for the same seed. */
export function sampleExpressions(count: number, seed: number): string[] {
  return fc.sample(expression, { numRuns: count, seed });
}

/** Expressions with a character changed, dropped or doubled: some are valid, most are not. */
export function sampleMutants(count: number, seed: number): string[] {
  const mutant = fc.tuple(expression, fc.nat(), fc.constantFrom(..."0123456789*?,-/L# ", "mon", "jan", "", "99", "--"))
    .map(([text, at, piece]) => {
      const place = at % (text.length + 1);
      return text.slice(0, place) + piece + text.slice(place + (at % 3 === 0 ? 0 : 1));
    });
  return fc.sample(mutant, { numRuns: count, seed });
}

/** A time within the zone's years, every other one within two days of a change of offset. */
export function sampleMoment(from: number, to: number, changes: number[], random: () => number): number {
  if (changes.length > 0 && random() < 0.5) {
    const change = changes[Math.floor(random() * changes.length)];
    return Math.floor(change + (random() * 4 - 2) * 86_400_000);
  }
  const [start, end] = [Date.UTC(from, 0, 1), Date.UTC(to + 1, 0, 1)];
  return Math.floor(start + random() * (end - start));
}

/** Numbers from 0 to 1, the same for the same seed. */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
