// The listings of nft in the folder nft/, for the tests that must hold on every one of them.

import { readdirSync, readFileSync } from 'node:fs';
import { decodeText } from '../../src/host/text.ts';
import { parseNft } from '../../src/ruleset/nft/parse.ts';
import type { NftTable } from '../../src/ruleset/nft/types.ts';

const FOLDER = new URL('./nft/', import.meta.url);

export interface NftCapture {
  /** Path below test/captures/nft. */
  readonly name: string;
  readonly text: string;
}

/** `libvirt-11-nftables/nat.nft-ruleset.txt`, `writers/ufw.02-rules-added.nft.ruleset` */
const LISTING = /\.(?:txt|ruleset)$/;

export const nftCaptures = (): NftCapture[] =>
  readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
    .filter((name) => LISTING.test(name))
    .sort()
    .map((name) => ({ name, text: nftCapture(name) }));

/** Decoded as the host does it. */
export const nftCapture = (name: string): string => decodeText(readFileSync(new URL(name, FOLDER)));

/** The table with this key in a text. */
export function tableIn(text: string, key: string): NftTable {
  const found = parseNft(text).tables.find(({ family, name }) => `${family} ${name}` === key);
  if (found === undefined) throw new Error(`no table ${key}`);
  return found;
}

/** A ruleset of one table and one chain, from rules as nft prints them. */
export const tableOf = (...rules: readonly string[]): NftTable =>
  tableIn(`table inet t {\n\tchain c {\n${rules.map((rule) => `\t\t${rule}\n`).join('')}\t}\n}\n`, 'inet t');
