// The project's prose, by kind, and how often it uses words and patterns that the style guide excludes.
import { join } from "node:path";
import { filesIn } from "./files.ts";

const root = new URL("../", import.meta.url).pathname;

/** Texts of one kind, each with the file it stands in. */
export type Corpus = { file: string; text: string }[];

export interface Rate {
  /** Hits per 1,000 words. */
  rate: number;
  /** Each hit with its file. */
  hits: string[];
}

const GENERATED = /(^|\/)(fixtures|migrations|rollback|upgrades)\/|database\.types\.ts$/;

/** Words that only this project ever used, or used in a sense that no other project does. */
const PRIVATE_WORDS = [
  /\b(bells?|ring|rings|rang|rung|ringing|doors?|verdicts?|fates?|happenings?|workshops?|strangers?)\b/gi,
  /\b(bury|buries|buried|burials?|revives?|revived|folds?|folded|folding|bites?|awake|asleep)\b/gi,
  /\b(refuses?|refused|refusing|refusals?|mends?|mended|mending|anew|dear|dearer|for ever|in earnest)\b/gi,
  /\b(burns?|burned) (a|no|one|its) (retry|retries)\b|\bwild numbers?\b|\bscan marks?\b|\bhouse (rules?|style)\b/gi,
  /\b(in|of|into) (the|this|each|every|its) (house|rooms?)\b|\bwalks (the|over|through)\b|\bthe walk of\b/gi,
  // A letter of the alphabet is one; a dead letter is named as such.
  new RegExp(
    "(?<!dead[ -])\\bletters?\\b(?!,? (and|or|then)? ?(up to \\d+ )?(digits?|letters))" +
      "(?<!(lower-case|upper-case|alphabet|ASCII) letters?)",
    "gi",
  ),
  /\bvaults?\b(?!\.)/g, // Supabase Vault and its schema keep their names
];
const HEADLESS_CLAUSE = /(?:^|[.;:,(–—]\s+|\n\s*)(?:what|who|whoever) (?:is|are|has|was|does|did|can|must)\b/gim;
const SPEAKING_CODE = /\b(answers?|says?|tells?|hears?|knows?)\b/gi;
const UNLESS = /\bunless (told|given|set)\b/gi;

/** Every limit, per 1,000 words. */
export const LIMITS = {
  "private words": { patterns: PRIVATE_WORDS, limit: 0.5 },
  "headless clauses": { patterns: [HEADLESS_CLAUSE], limit: 1 },
  "code that speaks": { patterns: [SPEAKING_CODE], limit: 1 },
  "unless told": { patterns: [UNLESS], limit: 0 },
};

export function wordsOf(corpus: Corpus): number {
  return corpus.reduce((sum, { text }) => sum + (text.match(/[\p{L}\d][\p{L}\d'’-]*/gu)?.length ?? 0), 0);
}

export function rateOf(corpus: Corpus, patterns: RegExp[]): Rate {
  const hits = corpus.flatMap(({ file, text }) =>
    patterns.flatMap((pattern) => [...text.matchAll(pattern)]).map(({ index, 0: hit }) => {
      const around = text.slice(Math.max(0, index - 40), index + hit.length + 40).replace(/\s+/g, " ");
      return `${file}: "${hit.trim()}" in "${around.trim()}"`;
    })
  );
  return { rate: hits.length * 1_000 / Math.max(1, wordsOf(corpus)), hits };
}

/** Documents, comments, texts of the page, sentences that SQL functions return or raise, and titles of tests. */
export function readProse(): Record<"docs" | "comments" | "page" | "sentences" | "titles", Corpus> {
  const files = filesIn().filter((file) => !GENERATED.test(file));
  const read = (pattern: RegExp) =>
    files.filter((file) => pattern.test(file)).map((file) => ({ file, text: Deno.readTextFileSync(join(root, file)) }));
  const each = (corpus: Corpus, extract: (text: string) => string[]): Corpus =>
    corpus.map(({ file, text }) => ({ file, text: extract(text).map(withoutCode).join("\n") }));
  const code = read(/\.(tsx?|mjs)$/);
  const sql = read(/\.sql$/);
  return {
    docs: each(read(/\.md$/), (text) => [withoutBlocks(text)]),
    comments: [...each(code, commentsOfCode), ...each(sql, commentsOfSql)],
    page: [
      ...each(read(/^dashboard\/src\/.*\.tsx?$/), textsOfPage),
      ...each(read(/^dashboard\/.*\.html$/), (text) => [text.replace(/<(script|style).*?<\/\1>|<[^>]*>/gs, " ")]),
    ],
    sentences: each(read(/^supabase\/schemas\/.*\.sql$/), sentencesOfSql),
    titles: each(read(/^tests\/.*\.test\.ts$/), titlesOf),
  };
}

const PRIVATE_PARTS = new Set(
  "bell bells ring rung door doors verdict verdicts fate fates bury buried burial revive revived fold folds folded bite"
    .concat(" bites asleep workshop stranger strangers refuse refused refuses refusal refusals mend mends").split(" "),
);

/** Identifiers of code and SQL, each once per file, that have one of the private words as a part. */
export function privateIdentifiers(): string[] {
  const files = filesIn().filter((file) => /\.(tsx?|mjs|sql|toml|css)$/.test(file) && !GENERATED.test(file));
  return files.flatMap((file) => {
    const identifiers = new Set(Deno.readTextFileSync(join(root, file)).match(/[A-Za-z_]\w+/g));
    return [...identifiers].filter((identifier) => {
      const parts = identifier.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toLowerCase().split("_");
      return parts.length > 1 && parts.some((part) => PRIVATE_PARTS.has(part));
    }).map((identifier) => `${file}: ${identifier}`);
  });
}

/** Fenced blocks and targets of links are not prose. */
function withoutBlocks(markdown: string): string {
  return markdown.replace(/^(```|~~~).*?^\1/gms, "").replace(/\]\([^)]*\)/g, "]");
}

function withoutCode(text: string): string {
  return text.replace(/`[^`\n]*`/g, "`").replace(/https?:\S+/g, "");
}

const TOKENS = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|`(?:\\.|[^`\\])*`|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/g;

function commentsOfCode(text: string): string[] {
  return tokens(text, TOKENS).filter((token) => /^\/[/*]/.test(token))
    .map((token) => token.replace(/```[\s\S]*?```/g, "").replace(/^\s*(\/\*\*?|\*\/|\*|\/\/)/gm, ""));
}

function textsOfPage(text: string): string[] {
  const strings = tokens(text, TOKENS).filter((token) => /^["`']/.test(token) && /\p{L}{2,} \p{L}/u.test(token));
  const elements = [...text.matchAll(/(?<!=)>([^<>{}=;]*\p{L}[^<>{}=;]*)[<{]/gu)].map(([, inner]) => inner);
  return [...strings.map((token) => token.replace(/\$\{[^}]*\}/g, "")), ...elements];
}

const SQL_TOKENS = /--[^\n]*|'(?:''|[^'])*'(?:\s*\n\s*'(?:''|[^'])*')*/g;

/** Comments, and what `comment on` says of an object. */
function commentsOfSql(text: string): string[] {
  const comments = tokens(text, SQL_TOKENS).filter((token) => token.startsWith("--")).map((token) => token.slice(2));
  const described = [...text.matchAll(/^comment on [^']*?is\s+((?:'(?:''|[^'])*'\s*)+);/gm)].map(([, string]) =>
    string
  );
  return [...comments, ...described.map(unquoted)];
}

/** String literals of three words and more, except the comments of objects. */
function sentencesOfSql(text: string): string[] {
  const rest = text.replace(/^comment on [^']*?is\s+(?:'(?:''|[^'])*'\s*)+;/gm, "");
  return tokens(rest, SQL_TOKENS).filter((token) => /^'[^']*\p{L}+ \p{L}+ \p{L}+/u.test(token)).map(unquoted);
}

function titlesOf(text: string): string[] {
  return [...text.matchAll(/\b(?:test|testLocally|t\.step)\(\s*(["`])(.*?)\1/gs)].map(([, , title]) => title);
}

function unquoted(literal: string): string {
  return literal.replace(/'\s*\n\s*'/g, "").replace(/^'|'$/g, "").replaceAll("''", "'");
}

function tokens(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([token]) => token);
}
