// The log of the project: writes every line to `functions.log` in its directory and to an optional listener.
import { join } from "node:path";

export interface LogFile {
  log(line: string): void;
  close(): void;
}

export function openLog(directory: string, also: (line: string) => void = () => {}): LogFile {
  const file = Deno.openSync(join(directory, "functions.log"), { create: true, append: true });
  const encoder = new TextEncoder();
  return {
    log(line) {
      file.writeSync(encoder.encode(`${line}\n`));
      also(line);
    },
    close: () => file.close(),
  };
}
