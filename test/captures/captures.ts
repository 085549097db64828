// The iptables-save texts in these folders, for the tests that must hold on every one of them.

import { readdirSync, readFileSync } from 'node:fs';
import { decodeText } from '../../src/host/text.ts';
import { parseNetworkXml } from '../../src/observe/networks.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';
import type { Network } from '../../src/ruleset/network.ts';
import type { Family, Ruleset } from '../../src/ruleset/types.ts';

const FOLDER = new URL('./', import.meta.url);

export interface Capture {
  /** Path below test/captures. */
  readonly name: string;
  readonly family: Family;
  readonly text: string;
}

/** `libvirt/libvirt-11-iptables/nat.ip6tables-save.txt`, `writers/xen/00-before.iptables-nft.save` */
const SAVE = /(?:save\.txt|\.save)$/;

/** What a capture of a kernel without any table holds. */
const EMPTY = '(empty)\n';

/** ebtables' and arptables' own save texts are of another form (captures/bridge.ts). */
const ELSEWHERE = /(?:eb|arp)tables-save\.txt$/;

/** Every save text below `folder` (below test/captures). Decoded as the host does it: odd bytes survive. */
export function captures(folder = ''): Capture[] {
  return readdirSync(new URL(folder, FOLDER), { recursive: true, encoding: 'utf8' })
    .filter((name) => SAVE.test(name) && !ELSEWHERE.test(name))
    .sort()
    .map((name) => capture(folder + name))
    .filter(({ text }) => text !== EMPTY);
}

export function capture(name: string): Capture {
  return { name, family: name.includes('ip6tables') ? 'ip6' : 'ip', text: decodeText(readFileSync(new URL(name, FOLDER))) };
}

/** The ruleset of a capture; a problem in it is a failure of the test. */
export function rulesetOf({ text, family, name }: Capture): Ruleset {
  const { ruleset, problems } = parseDocument(text, family, name);
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  return ruleset;
}

/** libvirt's own definition beside a capture of one network (`nat.iptables-save.txt` -> `nat.run-status.xml`); it runs unless the capture is of its end. */
export async function networksOf(name: string): Promise<Network[] | undefined> {
  const file = name.replace(/(?:\.after-[a-z-]+)?\.ip6?tables-save\.txt$/, '.run-status.xml');
  if (file === name) return undefined;
  const found = readdirSync(new URL('./', new URL(file, FOLDER)));
  if (!found.includes(file.slice(file.lastIndexOf('/') + 1))) return undefined;
  const parsed = await parseNetworkXml(readFileSync(new URL(file, FOLDER), 'utf8'), file);
  if ('problem' in parsed) throw new Error(parsed.problem.message);
  return [{ ...parsed.network, active: !name.includes('.after-net-destroy') }];
}
