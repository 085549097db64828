// One set of private namespaces (net, mount, pid) and how to run programs in it.
// Goals: several side by side; nothing of the machine's /etc, /var, /run is written; nothing is left behind.
// Guarantees: when the test process ends, even by kill -9, everything inside ends too (see holder.sh).
// Does not: configure a network or start a daemon; host.ts does.

import { spawn, type ChildProcess } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { placeAt, type Place } from './place.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
/** Top folder of the repository; seen at the same path inside. */
export const REPOSITORY = join(HERE, '..', '..');
/** Where the machine's own /proc is seen inside: `nft monitor` names pids of the outermost pid namespace. */
export const OUTER_PROC = '/outer-proc';

const ENVIRONMENT: Readonly<Record<string, string>> = {
  HOME: '/root',
  TERM: 'dumb',
  LANG: 'C.UTF-8',
  PATH: `/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:${dirname(process.execPath)}`,
  MENDWALL_PROCFS: OUTER_PROC,
};

export interface Namespaces {
  /** Pid 1 of the inside, as the machine sees it. */
  readonly pid: number;
  /** Path on the machine of a file inside. */
  outerPath(path: string): string;
  /** A place inside; `netns` is a name given to `ip netns add` inside, none means the hypervisor itself. */
  place(name: string, netns?: string): Place;
  close(): Promise<void>;
}

/**
 * Starts the namespaces over the system in `root`, by default the machine's own, with the files of the folders `layers`
 * laid over it. Needs root. Throws what holder.sh said when it did not get ready.
 */
export async function startNamespaces(root = '/', layers: readonly string[] = []): Promise<Namespaces> {
  const flags = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--', 'bash', join(HERE, 'holder.sh')];
  const paths = [REPOSITORY, ...nodePaths(root)];
  const child = spawn('unshare', flags, {
    cwd: '/',
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...ENVIRONMENT, LAB_ROOT: root, LAB_LAYERS: layers.join(' '), LAB_BIND: paths.join(' ') },
  });
  const pid = await readyPid(child);
  return {
    pid,
    outerPath: (path) => `/proc/${pid}/root${path}`,
    place: (name, netns) => placeAt(name, prefixFor(pid, netns), ENVIRONMENT),
    close: () => closeHolder(child),
  };
}

/** Node's own folder, when it does not come with the root file system as /usr does; from /usr only the program. */
function nodePaths(root: string): string[] {
  const folder = dirname(dirname(process.execPath));
  if (!folder.startsWith('/usr')) return [folder];
  return root === '/' ? [] : [process.execPath];
}

async function readyPid(child: ChildProcess): Promise<number> {
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`the private namespaces did not come up (exit ${code}): ${said}`)));
    child.stdout?.on('data', (chunk: Buffer) => {
      const ready = /ready (\d+)/.exec(chunk.toString()); // ready 12345
      if (ready) resolve(Number(ready[1]));
    });
  });
}

async function closeHolder(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.stdin?.end();
  const timer = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await ended;
  clearTimeout(timer);
}

function prefixFor(pid: number, netns: string | undefined): string[] {
  const net = netns === undefined ? '--net' : `--net=/proc/${pid}/root/run/netns/${netns}`;
  return ['nsenter', '--target', String(pid), '--mount', '--pid', net, '--'];
}
