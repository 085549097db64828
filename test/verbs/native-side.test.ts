// The native tables of one side of `diff --effect`.

import { describe, expect, it } from 'vitest';
import { type NativePart, parseNative } from '../../src/ruleset/nft/native-part.ts';
import { nativeOfSide } from '../../src/verbs/native-side.ts';

const table = (name: string, rule: string, flags = ''): string =>
  `table inet ${name} {\n${flags}\tchain in {\n\t\ttype filter hook input priority filter; policy accept;\n\t\t${rule}\n\t}\n}\n`;

function part(...texts: readonly string[]): NativePart {
  const parsed = parseNative(texts.join(''), 'test');
  if (parsed.kind === 'problems') throw new Error(JSON.stringify(parsed.problems));
  return parsed.part;
}

const MINE = table('mine', 'tcp dport 80 drop');
const OTHER = table('other', 'tcp dport 443 drop');
const THEIRS = table('theirs', 'udp dport 53 drop');
const LISTED = { text: MINE + THEIRS + OTHER, without: new Set(['ip filter']) };
const LIVE = part(MINE, OTHER);

describe('the native tables of a side', () => {
  it('are those listed where the side has the same', () => {
    expect(nativeOfSide(LISTED, LIVE, LIVE)).toBe(LISTED);
    expect(nativeOfSide(LISTED, LIVE, part(OTHER, MINE))).toEqual(LISTED);
  });

  it("are the side's in their places, and the neighbours' as listed", () => {
    const changed = table('mine', 'tcp dport 8080 drop');
    const { text, without } = nativeOfSide(LISTED, LIVE, part(changed));
    expect(text).toBe(changed + THEIRS);
    expect(without).toEqual(LISTED.without);
  });

  it('that are gone now stand behind the others', () => {
    expect(nativeOfSide({ ...LISTED, text: THEIRS }, part(), part(MINE)).text).toBe(THEIRS + MINE);
  });

  it('are left out where that side has them dormant, and only there', () => {
    const asleep = table('mine', 'tcp dport 80 drop', '\tflags dormant\n');
    expect(nativeOfSide(LISTED, LIVE, part(asleep, OTHER)).without).toEqual(new Set(['ip filter', 'inet mine']));
    const listed = { text: asleep, without: new Set(['inet mine']) };
    expect(nativeOfSide(listed, part(asleep), part(MINE)).without).toEqual(new Set());
  });
});
