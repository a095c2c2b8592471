// The registry of packs: every message type this deployment can handle.
import type { MessageType } from "../shared/message.ts";
import { example } from "./example/index.ts";

export const messageTypes: readonly MessageType[] = [...example];
