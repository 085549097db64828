// Everything a pass needs, built once for the life of a process.
// What it does not do: lock, build the real Host by itself (main.ts's terminal does), write anything.

import { randomBytes } from 'node:crypto';
import { asSaved } from './apply/as-saved.ts';
import { classify, userPartOf } from './classify/classify.ts';
import type { Config } from './config.ts';
import type { Host } from './host/host.ts';
import { createEngineReader } from './observe/engine.ts';
import { useConfiguredOrder, useConfiguredOwners } from './owners/index.ts';
import { newPinState } from './pass/pin.ts';
import type { PassContext } from './pass/types.ts';
import { openJournal } from './record/journal.ts';
import { openMemory } from './record/memory.ts';
import { parseDocument } from './ruleset/iptables/parse.ts';
import type { Family } from './ruleset/types.ts';
import type { UserPart } from './ruleset/user-part.ts';

/** Files that others load at boot; a live ruleset equal to one of them is a load (iptables-persistent, iptables-services). */
export const BOOT_FILES: Readonly<Record<Family, readonly string[]>> = {
  ip: ['/etc/iptables/rules.v4', '/etc/sysconfig/iptables'],
  ip6: ['/etc/iptables/rules.v6', '/etc/sysconfig/ip6tables'],
};

/** What was odd about the state folder, for people; a pass works all the same. */
export interface OpenedContext {
  readonly context: PassContext;
  readonly notes: readonly string[];
}

/** Reads the state folder. Throws HostError `read-failed` when it is there and cannot be read. */
export async function openContext(host: Host, config: Config): Promise<OpenedContext> {
  useConfiguredOwners(config.owners);
  useConfiguredOrder(config.order);
  const files = openMemory(host, config.stateDir);
  const { memory, notes } = await files.load();
  const cache: PassContext['cache'] = { stale: true, networks: undefined, interfaces: new Set(), counters: new Map() };
  const savedForms = new Map<string, { readonly stamp: string; readonly text: string }>();
  const context: PassContext = {
    host,
    memory,
    files,
    journal: openJournal(host, config.stateDir),
    engines: createEngineReader(host),
    settings: { onDelete: config.onDelete, onLoad: config.onLoad },
    nonce: () => randomBytes(4).toString('hex'),
    ownSentinels: new Set(),
    unlocked: new Set(),
    spellings: new Map(),
    cache,
    pins: newPinState(),
    openGuests: { wanted: config.openGuests, failed: undefined },
    bootParts: (family) => readBootParts(context, family, savedForms),
  };
  return { context, notes };
}

/** The user's part of each boot file. One that is missing, cannot be read or is malformed is not there. */
async function readBootParts(
  { host, engines, cache }: PassContext,
  family: Family,
  known: SavedForms,
): Promise<ReadonlyMap<string, UserPart>> {
  const parts = new Map<string, UserPart>();
  for (const path of BOOT_FILES[family]) {
    const stat = await host.files.stat(path);
    if (stat?.kind !== 'file') continue;
    const stamp = `${stat.modifiedMs} ${stat.sizeBytes}`;
    const text =
      known.get(path)?.stamp === stamp ? known.get(path)?.text : await savedForm(host, engines, family, path);
    known.set(path, { stamp, text: text ?? '' });
    const { ruleset, problems } = parseDocument(text ?? '', family, path);
    if (problems.length > 0)
      host.log.write('debug', `${path} is malformed and counts as not there: ${problems[0]?.message}`);
    else parts.set(path, userPartOf(classify(ruleset, cache.networks)));
  }
  return parts;
}

/** By path: the file as iptables prints it, until it changes (a throw-away namespace costs 10 to 60 ms). */
type SavedForms = Map<string, { readonly stamp: string; readonly text: string }>;

async function savedForm(host: Host, engines: PassContext['engines'], family: Family, path: string): Promise<string> {
  const text = (await host.files.read(path)) ?? '';
  const { engine } = (await engines.read())[family];
  const saved = await asSaved(host, engine === 'legacy' ? 'legacy' : 'nft', family, text, path);
  return saved.kind === 'text' ? saved.text : text;
}
