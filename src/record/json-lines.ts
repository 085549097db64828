// One JSON object a line: history and journal. A line that is not whole (a crash or a full disk in the middle of a write) is
// left out and said, never guessed at.

import type { Files } from '../host/host.ts';

export interface JsonLines {
  readonly objects: readonly Readonly<Record<string, unknown>>[];
  /** One reason for each line left out, e.g. `line 7: not whole`. */
  readonly dropped: readonly string[];
  /** True when the text does not end with a newline: an append would run into the torn line. */
  readonly torn: boolean;
}

/** Reads a file of JSON lines; empty when it does not exist. Throws HostError `read-failed`. */
export async function readJsonLines(files: Files, path: string): Promise<JsonLines> {
  return parseJsonLines((await files.read(path)) ?? '');
}

/** The objects of a text of JSON lines. */
export function parseJsonLines(text: string): JsonLines {
  const objects: Record<string, unknown>[] = [];
  const dropped: string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line === '') continue;
    const object = parseObject(line);
    if (object === undefined) dropped.push(`line ${index + 1}: not a whole JSON object`);
    else objects.push(object);
  }
  return { objects, dropped, torn: text !== '' && !text.endsWith('\n') };
}

/** A JSON object, or undefined when the text is anything else. */
export function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
