// Whether a process listens to nftables' changes yet. `nft monitor` says nothing when it is ready, and it dumps the whole ruleset
// before it listens (1 ms at 100 rules, 3.6 s at 100,000, and again from the start when the rules change meanwhile).
// The kernel says it: the socket's group mask in /proc/PID/net/netlink (net/netlink/af_netlink.c, netlink_native_seq_show).

import type { Host, LineStream } from '../host/host.ts';
import type { Timers } from './timers.ts';

/** AF_NETLINK protocol 12, NETLINK_NETFILTER. */
const NETFILTER = '12';
/** Group 7, NFNLGRP_NFTABLES, as a bit of the mask. */
const NFTABLES_BIT = 1 << 6;
const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 250;

export interface JoinHandlers {
  joined(): void;
  /** It cannot be told; asked no more. `reason` is for people. */
  unknown(reason: string): void;
}

/** Asks until the child listens, with pauses from 5 to 250 ms; ends with its timers. Costs 0.1 ms a time. */
export function whenListening(host: Host, child: LineStream, timers: Timers, handlers: JoinHandlers): void {
  async function ask(pauseMs: number): Promise<void> {
    if (child.pid !== undefined && (await listensToNftables(host, child.pid))) return handlers.joined();
    timers.after(pauseMs, () => askAgain(Math.min(pauseMs * 2, LONGEST_PAUSE_MS)));
  }
  const askAgain = (pauseMs: number): void =>
    void ask(pauseMs).catch((error: unknown) => handlers.unknown(String(error)));
  askAgain(FIRST_PAUSE_MS);
}

/**
 * True when `pid` has a netlink socket that is in the nftables group; false too when that cannot be read.
 * Rejects only when a file of /proc cannot be read for another reason than that the process is gone.
 */
export async function listensToNftables(host: Host, pid: number): Promise<boolean> {
  const sockets = host.proc.read(`/proc/${pid}/net/netlink`);
  const inodes = sockets === undefined ? [] : sockets.split('\n').filter(isNftablesListener).map(inodeOf);
  if (inodes.length === 0) return false;
  const names = await host.files.list(`/proc/${pid}/fd`);
  const targets = await Promise.all(names.map((name) => host.files.readLink(`/proc/${pid}/fd/${name}`)));
  return inodes.some((inode) => targets.includes(`socket:[${inode}]`));
}

/** `00000000b49dc138 12  12452      00000140 0        0        0     2        0        32071` */
function isNftablesListener(line: string): boolean {
  const [, protocol, , groups] = line.split(/ +/);
  return protocol === NETFILTER && (Number.parseInt(groups ?? '0', 16) & NFTABLES_BIT) !== 0;
}

const inodeOf = (line: string): string | undefined => line.trimEnd().split(/ +/)[9];
