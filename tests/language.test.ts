// The language of the project: plain technical English, the field's words, one word per concept.
import assert from "node:assert/strict";
import { LIMITS, privateIdentifiers, rateOf, readProse, wordsOf } from "./prose.ts";

const prose = readProse();

Deno.test("language · these tests read the prose that they judge", () => {
  for (
    const [kind, least] of Object.entries({
      docs: 15_000,
      comments: 20_000,
      page: 900,
      sentences: 2_000,
      titles: 5_000,
    })
  ) {
    const words = wordsOf(prose[kind as keyof typeof prose]); // the keys of readProse
    assert.ok(words > least, `${kind}: ${words} words`);
  }
  const page = prose.page.map(({ text }) => text).join("\n");
  assert.ok(page.includes("Dead letters"), "texts of the page are read");
});

for (const [kind, corpus] of Object.entries(prose)) {
  for (const [name, { patterns, limit }] of Object.entries(LIMITS)) {
    Deno.test(`language · ${kind}: ${name}, at most ${limit} per 1,000 words`, () => {
      const { rate, hits } = rateOf(corpus, patterns);
      assert.ok(rate <= limit, `${rate.toFixed(2)} per 1,000 words:\n${hits.join("\n")}`);
    });
  }
}

Deno.test("language · identifiers have none of the private words", () => {
  // Names of 0.1.0, which its upgrade changes.
  const former = /^supabase\/build\/alterations\//;
  assert.deepEqual(privateIdentifiers().filter((hit) => !former.test(hit)), []);
});

Deno.test("language · each pattern finds its words, and leaves others alone", () => {
  const count = (name: keyof typeof LIMITS, text: string) =>
    rateOf([{ file: "x.md", text }], LIMITS[name].patterns).hits.length;
  assert.equal(count("private words", "The bell rings at the door, and a verdict is buried."), 5);
  assert.equal(count("private words", "Dead letters keep one letter; names have lower-case letters and digits."), 1);
  assert.equal(count("private words", "Supabase Vault holds the secret; the vault does not."), 1);
  assert.equal(count("headless clauses", "What is due is claimed. It counts what is due."), 1);
  assert.equal(count("code that speaks", "The function returns what the caller asks for, and says so."), 1);
  assert.equal(count("unless told", "The lease is 30 s unless told otherwise."), 1);
});
