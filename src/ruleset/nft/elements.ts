// Elements of sets and maps, named or written in a rule. A view on the text, made when it is asked for: a block list of
// 100,000 addresses is mostly carried, not looked into. Pure.

import { tokens, type NftToken } from './lex.ts';

export interface NftElement {
  /** As printed, without the comma. */
  readonly text: string;
  /** `10.0.0.0/8`, `1.2.3.4 . 80-90`, `"eth*"`, `*` */
  readonly key: string;
  /** Of a map: what the key leads to: `drop`, `jump web`, `10.0.0.1 . 8080`. */
  readonly value: string | undefined;
  /** How long it lives, when that is not the set's own: `30m`. */
  readonly timeout: string | undefined;
  /** What is left of it: `29m59s920ms`. */
  readonly expires: string | undefined;
  /** `packets 3 bytes 4` */
  readonly counter: string | undefined;
  readonly comment: string | undefined;
}

/** The elements of a text as between the braces: `1.1.1.1 timeout 1h, 2.2.2.2`. */
export function elementsOf(text: string): NftElement[] {
  return splitElements(text).map(readElement);
}

/** Splits at the commas that stand outside quotes and braces. Empty pieces (a comma at the end) are left out. */
export function splitElements(text: string): string[] {
  const pieces: string[] = [];
  let depth = 0;
  let from = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 34) {
      const close = text.indexOf('"', at + 1);
      at = close === -1 ? text.length : close;
    } else if (code === 123) depth++;
    else if (code === 125) depth--;
    else if (code === 44 && depth === 0) {
      pieces.push(text.slice(from, at).trim());
      from = at + 1;
    }
  }
  pieces.push(text.slice(from).trim());
  return pieces.filter((piece) => piece !== '');
}

/** Words behind a key that begin one of its properties. Names of interfaces are quoted, so no key begins so. */
const PROPERTY = new Set(['timeout', 'expires', 'counter', 'comment', 'limit', 'quota', 'last']);

/** `1.2.3.4 timeout 30m expires 29m59s920ms comment "x" : 10.0.0.1` */
function readElement(text: string): NftElement {
  const words = tokens(text);
  const colon = words.findIndex((word) => word.text === ':');
  const left = colon === -1 ? words : words.slice(0, colon);
  const property = left.findIndex((word, index) => index > 0 && startsProperty(left, index, word));
  const keyEnd = property === -1 ? left.at(-1)?.end : left[property - 1]?.end;
  const after = (name: string): string | undefined =>
    left[left.findIndex((word, index) => index > 0 && word.text === name) + 1]?.text;
  const has = (name: string): boolean => left.some((word, index) => index > 0 && word.text === name);
  const comment = has('comment') ? after('comment') : undefined;
  return {
    text,
    key: text.slice(0, keyEnd),
    value: colon === -1 ? undefined : text.slice(words[colon]?.end).trim(),
    timeout: has('timeout') ? after('timeout') : undefined,
    expires: has('expires') ? after('expires') : undefined,
    counter: COUNTER.exec(text)?.[1],
    comment: comment?.replace(/^"|"$/g, ''),
  };
}

/** `counter packets 3 bytes 4` */
const COUNTER = /\bcounter (packets \d+ bytes \d+)/;

function startsProperty(words: readonly NftToken[], index: number, { text }: NftToken): boolean {
  return PROPERTY.has(text) || (text === 'ct' && words[index + 1]?.text === 'count');
}
