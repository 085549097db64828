// libvirtd, its bus and libvirt-dbus inside the private hypervisor: start, stop, restart, reload, log.

import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';

import type { ExecResult } from '../../src/host/host.ts';
import type { Namespaces } from './namespaces.ts';
import type { Place } from './place.ts';

const PID_FILE = '/run/libvirtd.pid';
const LOG_FILE = '/run/lab/libvirtd.log';

const QEMU_CONF = `user = "root"
group = "root"
dynamic_ownership = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
`;

// Level 1 of util.firewall logs each command with a time in ms.
const LIBVIRTD_CONF = `auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_ro_perms = "0777"
unix_sock_rw_perms = "0777"
log_filters="1:util.firewall 1:network 1:util.hook 3:*"
log_outputs="1:file:${LOG_FILE}"
`;

/** Where libvirt's network driver writes its rules; 9.0 knows only `iptables`. */
export type Backend = 'iptables' | 'nftables';

/** The real libvirtd. Every operation resolves when it is complete: after a start libvirtd answers, its rules written. */
export interface Libvirtd {
  start(): Promise<void>;
  /** SIGTERM, and waits for the end. Rules, bridges, dnsmasq and guests stay. */
  stop(): Promise<void>;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>;
  restart(): Promise<void>;
  /** `systemctl reload libvirtd`. Resolves when the signal is sent; the rewrite follows (see `quiet`). */
  sighup(): Promise<void>;
  /** Pid as seen inside; undefined when it does not run. */
  pid(): number | undefined;
  /** Length of libvirtd's log now, for `logSince`. */
  logMark(): number;
  /** What libvirtd logged after a mark. */
  logSince(mark: number): string;
  /** Resolves when libvirtd's log has not grown for `quietMs` (default 300), i.e. its rewrite is over. */
  quiet(quietMs?: number): Promise<void>;
}

export function libvirtdIn(namespaces: Namespaces, hypervisor: Place): Libvirtd {
  const pidPath = namespaces.outerPath(PID_FILE);
  const logPath = namespaces.outerPath(LOG_FILE);
  const pid = (): number | undefined => livePid(pidPath, namespaces);
  const start = async (): Promise<void> => {
    await hypervisor.sh(`libvirtd -d -p ${PID_FILE} </dev/null >/dev/null 2>>/run/lab/libvirtd.stderr`);
    // Clients are served only when the drivers have started, so this also waits for the rules.
    await hypervisor.sh('virsh -q -c qemu:///system version >/dev/null');
  };
  const end = async (signal: 'TERM' | 'KILL'): Promise<void> => {
    const running = pid();
    if (running === undefined) return;
    await hypervisor.sh(`kill -${signal} ${running}; while kill -0 ${running} 2>/dev/null; do sleep 0.02; done`);
  };
  return {
    start,
    stop: () => end('TERM'),
    kill: () => end('KILL'),
    restart: async () => {
      await end('TERM');
      await start();
    },
    sighup: async () => void (await hypervisor.sh(`kill -HUP ${pid()}`)),
    pid,
    logMark: () => fileSize(logPath),
    logSince: (mark) => textFrom(logPath, mark),
    quiet: (quietMs = 300) => untilStill(() => fileSize(logPath), quietMs),
  };
}

export interface LibvirtOptions {
  readonly dbusApi: boolean;
  /** Undefined: nothing is said to libvirt, as 9.0 has no such option. */
  readonly backend: Backend | undefined;
}

/** Writes libvirt's configuration and starts bus, libvirtd and, if wanted, libvirt-dbus. */
export async function startLibvirt(
  namespaces: Namespaces,
  hypervisor: Place,
  { dbusApi, backend }: LibvirtOptions,
): Promise<Libvirtd> {
  await hypervisor.sh('cat > /etc/libvirt/qemu.conf', { input: QEMU_CONF });
  await hypervisor.sh('cat > /etc/libvirt/libvirtd.conf', { input: LIBVIRTD_CONF });
  if (backend !== undefined) await chooseBackend(hypervisor, backend);
  await hypervisor.sh(
    'dbus-uuidgen --ensure; dbus-daemon --system --fork --nopidfile --nosyslog </dev/null >/dev/null 2>&1',
  );
  const libvirtd = libvirtdIn(namespaces, hypervisor);
  await libvirtd.start();
  if (dbusApi) await startLibvirtDbus(hypervisor);
  return libvirtd;
}

/**
 * With the nftables backend libvirt 11 mends the checksums of DHCP with a tc action, and refuses to start a network where
 * the kernel has no such action (measured). Guests here are namespaces, whose checksums need no mending: there the one
 * command is swallowed.
 */
async function chooseBackend(hypervisor: Place, backend: Backend): Promise<void> {
  await hypervisor.sh(`
    echo 'firewall_backend = "${backend}"' > /etc/libvirt/network.conf
    if tc actions add action csum udp index 1 2>/dev/null; then tc actions del action csum index 1; exit; fi
    printf '#!/bin/sh\ncase "$*" in *"action csum"*) exit 0 ;; esac\nexec /usr/sbin/tc "$@"\n' > /usr/local/sbin/tc
    chmod 755 /usr/local/sbin/tc`);
}

/**
 * libvirt-dbus opens libvirt only at the first call and sends no signal before; it is left in that state, as on a fresh
 * host: waking it is the guard's work.
 */
export async function startLibvirtDbus(hypervisor: Place): Promise<void> {
  await hypervisor.sh(`
    setsid setpriv --reuid libvirtdbus --regid libvirtdbus --init-groups /usr/sbin/libvirt-dbus --system \\
      </dev/null >/run/lab/libvirt-dbus.log 2>&1 &
    echo $! >/run/lab/libvirt-dbus.pid
    n=0
    until busctl --system list --acquired | grep -q '^org.libvirt '; do
      n=$((n + 1)); [ $n -lt 100 ] || { cat /run/lab/libvirt-dbus.log >&2; exit 1; }; sleep 0.02
    done`);
}

/** firewalld's signal as libvirt understands it; nobody has to own the name (virfirewalld.c subscribes to any sender). */
export async function emitReloaded(hypervisor: Place): Promise<ExecResult> {
  const name = 'org.fedoraproject.FirewallD1';
  return hypervisor.exec('busctl', ['--system', 'emit', '/org/fedoraproject/FirewallD1', name, 'Reloaded']);
}

function livePid(pidPath: string, namespaces: Namespaces): number | undefined {
  const text = textFrom(pidPath, 0).trim();
  if (text === '') return undefined;
  const state = textFrom(namespaces.outerPath(`/proc/${text}/stat`), 0);
  return state === '' ? undefined : Number(text);
}

/** The text of a file from an offset on; empty when there is no such file. */
function textFrom(path: string, offset: number): string {
  if (offset === 0) return wholeText(path);
  const file = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(Math.max(0, fstatSync(file).size - offset));
    readSync(file, buffer, 0, buffer.length, offset);
    return buffer.toString('utf8');
  } finally {
    closeSync(file);
  }
}

function wholeText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

function fileSize(path: string): number {
  const file = openSync(path, 'r');
  try {
    return fstatSync(file).size;
  } finally {
    closeSync(file);
  }
}

async function untilStill(read: () => number, quietMs: number): Promise<void> {
  let last = read();
  let stillSinceMs = performance.now();
  while (performance.now() - stillSinceMs < quietMs) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    const now = read();
    if (now !== last) stillSinceMs = performance.now();
    last = now;
  }
}
