// libvirt's networks as libvirt's own files define them.
// Goal: know each network's bridge, subnets and forward mode without calling libvirt, which may hang, be down or be
// inside a hook of its own. Guarantee: a file that cannot be read as a network is a problem value; the others still count.
// Does not: follow changes (the event sources do), or know networks that no file describes.

import type { Host, Log } from '../host/host.ts';
import type { Network } from '../ruleset/network.ts';
import { parseNetworkXml, type NetworkProblem, type ParsedNetwork } from './network-xml.ts';

export { parseNetworkXml, type NetworkProblem };

/** Where libvirt keeps the status of running networks: `<networkstatus>` files, gone after a reboot. */
export const RUN_FOLDER = '/run/libvirt/network';
/** Where libvirt keeps what `virsh net-define` was given. */
export const CONFIG_FOLDER = '/etc/libvirt/qemu/networks';

export interface NetworksRead {
  readonly networks: readonly Network[];
  readonly problems: readonly NetworkProblem[];
}

type Files = Pick<Host['files'], 'read' | 'list' | 'exists'>;

/**
 * All networks in libvirt's two folders, sorted by name. A running network is given as its status file has it, also when
 * its definition was edited since: that is what its rules were written from. Never rejects.
 */
export async function readLibvirtNetworks(
  files: Files,
  folders = { run: RUN_FOLDER, config: CONFIG_FOLDER },
): Promise<NetworksRead> {
  const running = await readFolder(files, folders.run);
  const defined = await readFolder(files, folders.config);
  const names = new Set(running.networks.map(({ name }) => name));
  const networks = [
    ...running.networks.map((network) => ({ ...network, active: true })),
    ...defined.networks.filter(({ name }) => !names.has(name)),
  ];
  return {
    networks: networks.sort((a, b) => (a.name < b.name ? -1 : 1)),
    problems: [...running.problems, ...defined.problems],
  };
}

/** The networks in files given by hand (`--networks FILE.xml`): `<network>`, `<networkstatus>` or a hook's `<hookData>`. */
export async function readNetworkFiles(files: Pick<Files, 'read'>, paths: readonly string[]): Promise<NetworksRead> {
  const results = await Promise.all(paths.map((path) => readNetworkFile(files, path)));
  return {
    networks: results.flatMap((result) => ('network' in result ? [result.network] : [])),
    problems: results.flatMap((result) => ('problem' in result ? [result.problem] : [])),
  };
}

/**
 * Whether the network's bridge exists in this network namespace. `sysFolder` must be a sysfs mounted in that namespace:
 * sysfs shows the interfaces of the namespace it was mounted in.
 */
export async function bridgeExists(files: Pick<Files, 'exists'>, bridge: string, sysFolder = '/sys'): Promise<boolean> {
  // an interface name has no slash and is neither of these (dev_valid_name in the kernel)
  if (bridge === '' || bridge === '.' || bridge === '..' || bridge.includes('/')) return false;
  return files.exists(`${sysFolder}/class/net/${bridge}`);
}

/** What a log was told of each file, as long as it stands. */
const told = new WeakMap<Log, ReadonlyMap<string, string>>();

/** Warns of each file that cannot be used, once until what is wrong with it changes: every pass reads them all. */
export function tellProblems(log: Log, problems: readonly NetworkProblem[]): void {
  const before = told.get(log);
  const now = new Map(problems.map(({ file, code, message }) => [file, `${file}: ${code}: ${message}`]));
  told.set(log, now);
  for (const [file, text] of now) if (before?.get(file) !== text) log.write('warning', text);
}

async function readFolder(files: Files, folder: string): Promise<NetworksRead> {
  try {
    const names = (await files.list(folder)).filter((name) => name.endsWith('.xml'));
    const read = await readNetworkFiles(
      files,
      names.map((name) => `${folder}/${name}`),
    );
    // a network stopped between the listing and the reading is gone, not broken
    return { ...read, problems: read.problems.filter(({ code }) => code !== 'xml-missing') };
  } catch (error) {
    return { networks: [], problems: [{ code: 'xml-unreadable', file: folder, message: String(error) }] };
  }
}

async function readNetworkFile(files: Pick<Files, 'read'>, file: string): Promise<ParsedNetwork> {
  try {
    const text = await files.read(file);
    if (text === undefined) return { problem: { code: 'xml-missing', file, message: 'no such file' } };
    return await parseNetworkXml(text, file);
  } catch (error) {
    return { problem: { code: 'xml-unreadable', file, message: String(error) } };
  }
}
