// What `doctor` reads besides rules: files of other programs, units that start at boot, programs that run, bridges.
// Guarantees: a file that may not be read is `unread`, never taken for missing. Writes nothing, starts nothing.

import { BOOT_FILES } from '../context.ts';
import type { Bridges, Facts, Read } from '../doctor/types.ts';
import { PROGRAM_FILES } from '../doctor/loader-checks.ts';
import type { Host } from '../host/host.ts';
import { escaped } from '../owners/claim-neighbours.ts';
import type { Network } from '../ruleset/network.ts';
import { FAMILIES } from '../ruleset/types.ts';

type Text = Read<string | undefined>;

/** What `ask` gives, or the reason why it cannot be had. */
export async function reading<T>(ask: () => Promise<T>): Promise<Read<T>> {
  try {
    return { kind: 'read', value: await ask() };
  } catch (error) {
    return { kind: 'unread', why: error instanceof Error ? error.message : String(error) };
  }
}

const textAt = ({ files }: Host, path: string): Promise<Text> => reading(() => files.read(path));

export async function readBootRules(host: Host): Promise<Facts['bootRules']> {
  const paths = FAMILIES.flatMap((family) => BOOT_FILES[family].map((path) => ({ family, path })));
  return Promise.all(paths.map(async (each) => ({ ...each, text: await textAt(host, each.path) })));
}

export async function readProgramFiles(host: Host): Promise<Facts['files']> {
  return new Map(await Promise.all(PROGRAM_FILES.map(async (path) => [path, await textAt(host, path)] as const)));
}

// ---- nftables.conf

const NFT_FILES = ['/etc/nftables.conf', '/etc/sysconfig/nftables.conf'];
/** An include of an include ... nft itself stops at 16. */
const DEEPEST = 16;

/** With what they include, each once. */
export async function readNftFiles(host: Host): Promise<Facts['nftFiles']> {
  const found = new Map<string, Text>();
  let level: readonly string[] = NFT_FILES;
  for (let depth = 0; level.length > 0 && depth <= DEEPEST; depth++) {
    const next: string[] = [];
    for (const path of level) {
      if (found.has(path)) continue;
      const text = await textAt(host, path);
      found.set(path, text);
      if (text.kind === 'read') next.push(...(await includesOf(host, path, text.value ?? '')));
    }
    level = next;
  }
  return [...found].map(([path, text]) => ({ path, text }));
}

/** `include "/etc/nftables.d/*.nft"`; a name without a slash in front is looked for beside /etc and the file itself. */
async function includesOf(host: Host, from: string, text: string): Promise<string[]> {
  const names = [...text.matchAll(/^\s*include\s+"([^"]+)"/gm)].map(([, name = '']) => name);
  const beside = from.slice(0, from.lastIndexOf('/'));
  const paths = await Promise.all(
    names.map((name) => globbed(host, name.startsWith('/') ? name : `${beside}/${name}`)),
  );
  return paths.flat();
}

/** A pattern in the last part only, as nft's files have it. */
async function globbed({ files }: Host, path: string): Promise<string[]> {
  const [folder, name] = [path.slice(0, path.lastIndexOf('/')), path.slice(path.lastIndexOf('/') + 1)];
  if (!/[*?]/.test(name)) return [path];
  const parts = name.split(/([*?])/).map((part) => (part === '*' ? '[^/]*' : part === '?' ? '[^/]' : escaped(part)));
  const form = new RegExp(`^${parts.join('')}$`);
  const listed = await reading(() => files.list(folder));
  return listed.kind === 'read'
    ? listed.value.filter((each) => form.test(each)).map((each) => `${folder}/${each}`)
    : [];
}

// ---- units and programs

const UNITS = '/etc/systemd/system';

/** Units that an `enable` linked into a target. */
export function readEnabled({ files }: Host): Promise<Facts['enabled']> {
  return reading(async () => {
    const targets = (await files.list(UNITS)).filter((name) => /\.(?:wants|requires)$/.test(name));
    const units = await Promise.all(targets.map((name) => files.list(`${UNITS}/${name}`)));
    return new Set(units.flat());
  });
}

/** Names of all programs that run, as /proc has them; with hidepid others' cannot be seen. */
export function readPrograms({ files, proc }: Host): Promise<Read<ReadonlySet<string>>> {
  return reading(async () => {
    const pids = (await files.list('/proc')).filter((name) => /^\d+$/.test(name));
    if (pids.length > 0 && !pids.includes('1')) throw new Error('/proc shows only our own processes (hidepid)');
    return new Set(pids.map((pid) => proc.read(`/proc/${pid}/comm`)?.trimEnd() ?? ''));
  });
}

// ---- bridges

/** `networks`: what runs of libvirt's; their guests are asked about in another way. */
export function readBridges(host: Host, networks: readonly Network[]): Promise<Read<Bridges>> {
  return reading(async () => {
    const [ip, ip6] = await Promise.all(['ip', 'ip6'].map((name) => isFiltered(host, name)));
    const theirs = new Set(networks.filter(({ active }) => active).map(({ bridge }) => bridge));
    const names = (await host.files.list('/sys/class/net')).filter((name) => !theirs.has(name));
    const bridges = await Promise.all(names.map(async (name) => ({ name, ports: await portsOf(host, name) })));
    return {
      filtered: { ip: ip === true, ip6: ip6 === true },
      bridges: bridges.filter(({ name, ports }) => ports.length > 0 && !isContainers(name)),
    };
  });
}

/** Without the module there is no such file. */
async function isFiltered({ files }: Host, family: string): Promise<boolean> {
  return (await files.read(`/proc/sys/net/bridge/bridge-nf-call-${family}tables`))?.trim() === '1';
}

async function portsOf({ files }: Host, bridge: string): Promise<string[]> {
  const folder = `/sys/class/net/${bridge}/brif`;
  return (await files.exists(folder)) ? files.list(folder) : [];
}

/** Docker's, podman's, CNI's: they open their own. */
const isContainers = (name: string): boolean => /^(?:docker\d+|br-[0-9a-f]{12}|podman\d+|cni\w*)$/.test(name);
