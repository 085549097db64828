// Bytes to text and back without loss. iptables comments, set names and host names may hold any byte.
// UTF-8 stays readable text; a byte that is not part of valid UTF-8 becomes one lone surrogate U+DC80..U+DCFF (the scheme of
// Python's PEP 383), so encodeText(decodeText(bytes)) = bytes. JSON.stringify keeps such a character as `\udcXX`.

import { isUtf8 } from 'node:buffer';

const ESCAPE_BASE = 0xdc00;
const NEWLINE = 0x0a;
const REPLACEMENT = '\ufffd';

/** The text of `bytes`. Never fails; a byte-order mark is kept. */
export function decodeText(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return isUtf8(buffer) ? buffer.toString('utf8') : decodeByLine(buffer);
}

/** The bytes of `text`. A lone surrogate that decodeText did not make becomes U+FFFD, as everywhere in Node. */
export function encodeText(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  // A lone surrogate is written as U+FFFD: only then is the slow way needed.
  if (!bytes.includes(REPLACEMENT)) return bytes;
  // Matches `\udcff` when it stands alone; with the u flag not the second half of a pair such as U+1F600.
  return Buffer.concat(text.split(/([\udc80-\udcff])/u).map(encodePiece));
}

/**
 * Text that may have come from a rule, a file or another program, made safe for one line on a terminal or in a log:
 * control characters, direction overrides and bytes that are not UTF-8 are shown as `\x1b`, `\u202e`, `\xff`.
 */
export function escapeControl(text: string): string {
  // Matches `\x1b` (starts a terminal escape), `\n`, `\x9b` (8-bit CSI), `\u202e` (right-to-left override), `\udcff`.
  return text.replace(/[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/gu, escapeCharacter);
}

function decodeByLine(buffer: Buffer): string {
  const parts: string[] = [];
  for (let start = 0; start < buffer.length;) {
    const newline = buffer.indexOf(NEWLINE, start);
    const end = newline < 0 ? buffer.length : newline + 1;
    const line = buffer.subarray(start, end);
    parts.push(isUtf8(line) ? line.toString('utf8') : decodeByByte(line));
    start = end;
  }
  return parts.join('');
}

function decodeByByte(line: Buffer): string {
  let text = '';
  for (let at = 0; at < line.length;) {
    const byte = line[at] ?? 0;
    const character = line.subarray(at, at + sequenceLength(byte));
    const valid = isUtf8(character);
    text += valid ? character.toString('utf8') : String.fromCharCode(ESCAPE_BASE + byte);
    at += valid ? character.length : 1;
  }
  return text;
}

/** Length in bytes of the UTF-8 sequence that a lead byte announces. */
function sequenceLength(lead: number): number {
  if (lead < 0xc0) return 1;
  if (lead < 0xe0) return 2;
  return lead < 0xf0 ? 3 : 4;
}

function encodePiece(piece: string): Buffer {
  const code = piece.length === 1 ? piece.charCodeAt(0) : 0;
  const isEscape = code >= ESCAPE_BASE + 0x80 && code <= ESCAPE_BASE + 0xff;
  return isEscape ? Buffer.from([code - ESCAPE_BASE]) : Buffer.from(piece, 'utf8');
}

function escapeCharacter(character: string): string {
  const code = character.charCodeAt(0);
  if (code === NEWLINE) return '\\n';
  if (code === 0x09) return '\\t';
  if (code >= ESCAPE_BASE + 0x80 && code <= ESCAPE_BASE + 0xff) return `\\x${(code - ESCAPE_BASE).toString(16)}`;
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
}
