// What libvirt remembers of the rules it wrote: its removal record in the status file of each running network.
// Goal: know which rule, by handle, libvirt's nftables backend will delete next, and which backend a network has.
// Guarantees: never rejects; a file that cannot be read, or holds no record, is a value and the others still count.
// Does not: say whether the record is right (merge/libvirt-nft-handles.ts), or read what the iptables backend deletes: it goes by text.
// Source: libvirt 11.3, virNetworkObjFormat and virFirewallFormat; before 10.4 there is no record.

import { type Host, HostError } from '../host/host.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import type { RecordedRule, RemovalRecord } from '../ruleset/network.ts';
import { RUN_FOLDER } from './networks.ts';
import { attribute, child, children, readXml, textOf, unescapeXml } from './xml.ts';

type Files = Pick<Host['files'], 'read' | 'list'>;

/** The records of all running networks; one whose file cannot be read is left out (networks.ts reads the same files, and says so). */
export async function readRemovalRecords(files: Files, folder = RUN_FOLDER): Promise<readonly RemovalRecord[]> {
  try {
    const names = (await files.list(folder)).filter((name) => name.endsWith('.xml'));
    const records = await Promise.all(names.map((name) => readRecord(files, `${folder}/${name}`)));
    return records.filter((record) => record !== undefined);
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return [];
  }
}

async function readRecord(files: Files, path: string): Promise<RemovalRecord | undefined> {
  try {
    return await parseRemovalRecord((await files.read(path)) ?? '');
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return undefined;
  }
}

/** The record in the text of one status file; undefined when the text is none of a running network. */
export async function parseRemovalRecord(text: string): Promise<RemovalRecord | undefined> {
  const parsed = await readXml(text);
  const status = 'root' in parsed ? child(parsed.root, 'networkstatus') : undefined;
  const network = unescapeXml(textOf(child(child(status, 'network'), 'name')));
  if (network === '') return undefined;
  const firewall = children(status, 'firewall').find((item) => attribute(item, 'name') === 'fwRemoval');
  const backend = attribute(firewall, 'backend');
  if (backend !== 'nftables') return { network, backend: backend === 'iptables' ? backend : undefined, rules: [] };
  const actions = children(firewall, 'group').flatMap((group) => children(group, 'action'));
  const rules = actions.map((action) => recordedRule(wordsOf(action))).filter((rule) => rule !== undefined);
  return { network, backend, rules };
}

const wordsOf = (action: unknown): string[] => children(child(action, 'args'), 'item').map(textOf);

/** `delete rule ip libvirt_network guest_nat handle 18`; the tc filter of the bridge is no rule. */
function recordedRule(words: readonly string[]): RecordedRule | undefined {
  const [verb, what, familyWord, table = '', chain = '', keyword, number = ''] = words;
  const family = FAMILIES.find((each): each is Family => each === familyWord);
  if (verb !== 'delete' || what !== 'rule' || keyword !== 'handle' || family === undefined) return undefined;
  return /^\d+$/.test(number) ? { family, table, chain, handle: Number(number) } : undefined;
}
