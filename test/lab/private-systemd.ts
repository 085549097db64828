// A real systemd as pid 1 of private namespaces, with its journal, for units that must be seen to work.
// Guarantees: no unit of the machine is touched or started; everything is gone after down() and when the test ends.
// Does not: run a D-Bus daemon (systemctl talks to systemd's own socket).

import { spawn, type ChildProcess } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { placeAt, type Place } from './place.ts';
import { childrenOf, killTree } from './process-tree.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
const PATH = `/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:${dirname(process.execPath)}`;

export interface PrivateSystemd extends Place {
  /** `systemctl show UNIT -P PROPERTY`. */
  show(unit: string, property: string): Promise<string>;
  /** Messages of the journal, the unit's own and systemd's about it; without a unit all. */
  journal(unit?: string): Promise<string>;
  /** Folder of the machine that is /run/lab inside. */
  readonly shared: string;
  down(): Promise<void>;
}

export interface PrivateSystemdOptions {
  /** Unit files, copied into /etc/systemd/system. */
  readonly units: readonly string[];
  /** Programs by name, written to /usr/bin inside. */
  readonly programs: Readonly<Record<string, string>>;
}

/** Starts systemd and waits until it answers. Needs root and a writable cgroup2 tree; throws what was said when it fails. */
export async function upPrivateSystemd(options: PrivateSystemdOptions): Promise<PrivateSystemd> {
  const shared = furnish(options);
  const cgroup = join(cgroupRoot(), `mendwall-lab-${process.pid}`);
  mkdirSync(cgroup, { recursive: true });
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'bash', join(HERE, 'systemd-holder.sh')], {
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH, CGROUP: cgroup, SHARED: shared, LAB_BIND: nodeFolders().join(' ') },
  });
  const down = (): Promise<void> => end(child, cgroup, shared);
  try {
    const place = placeAt('systemd', await enter(child), { PATH, HOME: '/root', LANG: 'C.UTF-8' });
    await untilItAnswers(place);
    return {
      ...place,
      shared,
      down,
      show: (unit, property) => show(place, unit, property),
      journal: (unit) => journal(place, unit),
    };
  } catch (error) {
    await down();
    throw error;
  }
}

function furnish({ units, programs }: PrivateSystemdOptions): string {
  const shared = mkdtempSync(join(tmpdir(), 'mendwall-systemd-'));
  for (const folder of ['units', 'bin']) mkdirSync(join(shared, folder));
  // What is not wanted by lab.target does not start; journald so that messages can be read.
  writeFileSync(join(shared, 'units/lab.target'), '[Unit]\nDescription=lab\nWants=systemd-journald.service\n');
  for (const unit of units) cpSync(unit, join(shared, 'units', unit.slice(unit.lastIndexOf('/') + 1)));
  for (const [name, text] of Object.entries(programs)) writeFileSync(join(shared, 'bin', name), text, { mode: 0o755 });
  return shared;
}

/** Where cgroup v2 is mounted: alone (`/sys/fs/cgroup`) or beside v1 (`unified`). */
function cgroupRoot(): string {
  const root = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((path) => existsSync(`${path}/cgroup.procs`));
  if (root === undefined)
    throw new Error('no cgroup v2 is mounted under /sys/fs/cgroup: systemd cannot run as pid 1 here');
  return root;
}

function nodeFolders(): string[] {
  const folder = dirname(dirname(process.execPath));
  return folder.startsWith('/usr') ? [] : [folder];
}

/** The command line that enters the namespaces, once systemd is pid 1 there. */
async function enter(child: ChildProcess): Promise<string[]> {
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  for (let tries = 0; tries < 200 && child.exitCode === null; tries += 1) {
    const pid = childrenOf(child.pid ?? 0)[0];
    if (pid !== undefined && isSystemd(pid)) {
      return ['nsenter', '--target', String(pid), '--mount', '--pid', '--cgroup', '--net', '--uts', '--ipc', '--'];
    }
    await sleep(50);
  }
  throw new Error(`systemd did not become pid 1 of its namespaces: ${said || 'nothing was said'}`);
}

function isSystemd(pid: number): boolean {
  return existsSync(`/proc/${pid}/comm`) && readFileSync(`/proc/${pid}/comm`, 'utf8') === 'systemd\n';
}

async function untilItAnswers(place: Place): Promise<void> {
  let last = '';
  for (let tries = 0; tries < 100; tries += 1) {
    const result = await place.exec('systemctl', ['is-active', 'lab.target']);
    last = result.stdout + result.stderr;
    if (result.stdout === 'active\n') return;
    await sleep(100);
  }
  throw new Error(`systemd did not reach lab.target: ${last}`);
}

async function show(place: Place, unit: string, property: string): Promise<string> {
  return (await place.sh(`systemctl show ${unit} -P ${property}`)).trim();
}

async function journal(place: Place, unit: string | undefined): Promise<string> {
  return place.sh(
    `journalctl --sync; journalctl -q --no-pager -o short-monotonic ${unit === undefined ? '' : `-u ${unit}`}`,
  );
}

async function end(child: ChildProcess, cgroup: string, shared: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    killTree(child.pid);
    await ended;
  }
  for (let tries = 0; tries < 50 && !removeCgroup(cgroup); tries += 1) await sleep(20);
  rmSync(shared, { recursive: true, force: true });
}

/** Removes a cgroup and those below it; false while a process in it has not quite ended. */
function removeCgroup(path: string): boolean {
  try {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (entry.isDirectory() && !removeCgroup(join(path, entry.name))) return false;
    }
    rmdirSync(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return false;
    throw error;
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
