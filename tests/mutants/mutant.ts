// A planted bug: one piece of text replaced by another, in one statement of supabase/schemas or in one TypeScript file.
import { sourceFiles } from "../../supabase/build/schemas.ts";

/** What every planted bug has, in SQL and in TypeScript. */
export interface PlantedBug {
  /** The defect, as a short name. */
  name: string;
  /** The broken promise, in a sentence. */
  breaks: string;
  /** Text that occurs once in the statement or file. Short, so that changes around it do not affect it. */
  find: string;
  replace: string;
  /** Test files below tests/ that must fail, the most likely one first. */
  noticedBy: string[];
}

/** A bug in SQL, planted into the databases that tests use. */
export interface Mutant extends PlantedBug {
  /** The beginning of the mutated statement, at the start of a line; for functions see `fn`. */
  statement: string;
}

/** A bug in TypeScript, planted into a copy of the source tree. */
export interface TypeScriptMutant extends PlantedBug {
  /** Path of the mutated file from the root of the repository. */
  file: string;
}

/** The beginning of a function's definition. */
export function fn(name: string): string {
  return `create or replace function ${name}(`;
}

/** Text of all schema files in their order. */
export function readSchemas(): string {
  const folder = new URL("../../supabase/schemas/", import.meta.url);
  return sourceFiles(folder).map((name) => Deno.readTextFileSync(new URL(name, folder))).join("\n");
}

/**
 * The mutated statement, to be run on a migrated database. Replaced functions keep their owner and rights.
 * @throws if the statement or the text in it does not occur exactly once
 */
export function plant(mutant: Mutant, schemas: string): string {
  const starts = positions(`\n${schemas}`, `\n${mutant.statement}`);
  if (starts.length !== 1) throw cannot(mutant, `"${mutant.statement}" begins ${starts.length} statements`);
  return replaceOnce(mutant, statementAt(schemas, starts[0]), mutant.statement);
}

/**
 * The mutated text of a file.
 * @throws if the text to replace does not occur exactly once
 */
export function plantInFile(mutant: TypeScriptMutant, text: string): string {
  return replaceOnce(mutant, text, mutant.file);
}

function replaceOnce(mutant: PlantedBug, text: string, where: string): string {
  const places = positions(text, mutant.find);
  if (places.length !== 1) throw cannot(mutant, `"${mutant.find}" stands ${places.length} times in ${where}`);
  if (mutant.replace === mutant.find) throw cannot(mutant, "it changes nothing");
  return text.slice(0, places[0]) + mutant.replace + text.slice(places[0] + mutant.find.length);
}

// A statement ends with a semicolon at the end of a line, outside of dollar quotes, which may contain others.
function statementAt(schemas: string, start: number): string {
  const marks = /\$\w*\$|;\n/g;
  marks.lastIndex = start;
  let quote: string | undefined;
  for (let mark = marks.exec(schemas); mark; mark = marks.exec(schemas)) {
    const [text] = mark;
    if (text === ";\n") {
      if (quote === undefined) return schemas.slice(start, mark.index + 1);
    } else if (quote === undefined) quote = text;
    else if (quote === text) quote = undefined;
    // In "$$$job$", the first two characters end no quote; the next match may overlap them.
    else marks.lastIndex = mark.index + 1;
  }
  return schemas.slice(start);
}

function positions(text: string, part: string): number[] {
  const found: number[] = [];
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + 1)) found.push(at);
  return found;
}

function cannot({ name }: PlantedBug, why: string): Error {
  return new Error(`the mutant "${name}" cannot be planted: ${why}`);
}
