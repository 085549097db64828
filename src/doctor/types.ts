// What `doctor` asks and answers: facts in, findings out. Pure.
// Guarantee: what could not be read is a SKIP with its reason, never a PASS.

import type { Classified } from '../classify/classify.ts';
import type { Program } from '../explain/program.ts';
import type { Drift } from '../merge/drift.ts';
import type { Network } from '../ruleset/network.ts';
import type { Family } from '../ruleset/types.ts';

/** Read, or why not. */
export type Read<T> = { readonly kind: 'read'; readonly value: T } | { readonly kind: 'unread'; readonly why: string };

/** WARN: may be meant, or may go wrong one day. FAIL: something does not work now. SKIP: not known. */
export type Verdict = 'PASS' | 'WARN' | 'FAIL' | 'SKIP';

export interface Finding {
  readonly verdict: Verdict;
  readonly evidence: string;
  /** A shell line that puts it right, or shows more; with every WARN and FAIL. */
  readonly paste?: string;
}

export interface Check {
  /** As in docs/doctor.md. */
  readonly id: string;
  /** Never empty. */
  judge(facts: Facts): readonly Finding[];
}

/** The live rules of both families, with owners. */
export interface Rules {
  readonly families: readonly Classified[];
  readonly networks: readonly Network[];
  /** libvirt's tables of its nftables backend stand. */
  readonly libvirtNative: boolean;
}

/** What a packet meets on this host. */
export interface Ways {
  readonly program: Program;
  readonly classified: readonly Classified[];
  /** The interface of the default route, where there is one. */
  readonly uplink: string | undefined;
  readonly addresses: readonly { readonly address: string; readonly dev: string }[];
}

/** Traffic that a base chain stops: verbs/blocked.ts. */
export interface BlockedFact extends Drift {
  readonly opening: string;
}

export interface EngineFact {
  readonly family: Family;
  readonly engine: 'nft' | 'legacy' | 'unknown';
  readonly version: string | undefined;
  readonly other: 'rules' | 'nothing' | 'unreadable';
  readonly mixed: boolean;
  readonly evidence: readonly string[];
}

export interface HookFact {
  readonly object: string;
  readonly state: 'absent' | 'current' | 'outdated' | 'not-executable' | 'blocked';
  /** Daemons that run since before the hook was there. */
  readonly unaware: readonly { readonly pid: number; readonly name: string }[];
}

export type BusFact =
  | { readonly kind: 'no-libvirt' | 'answers' | 'on-demand' | 'missing' }
  | { readonly kind: 'mute'; readonly why: string };

export interface FirewalldFact {
  readonly running: boolean;
  /** `1.3.3`; undefined where it does not say. */
  readonly version: string | undefined;
}

/** `silent`: it listens, and does not answer. `forbidden`: only root may ask. */
export type DaemonFact = 'running' | 'absent' | 'silent' | 'forbidden';

/** What the state folder says; for people and for the checks of mendwall itself. */
export interface OwnState {
  readonly snapshot: { readonly id: string; readonly at: string } | undefined;
  /** Newest first. */
  readonly damaged: readonly { readonly id: string; readonly reason: string }[];
  readonly pausedUntil: string | undefined;
  readonly trial: { readonly what: string; readonly leftMs: number } | undefined;
  /** Since when something is pending without a break, by the journal; ISO 8601. */
  readonly pendingSince: string | undefined;
}

export interface Bridges {
  /** Bridged frames see iptables' rules of this family. */
  readonly filtered: Readonly<Record<Family, boolean>>;
  /** Bridges with ports that are not a network of libvirt's. */
  readonly bridges: readonly { readonly name: string; readonly ports: readonly string[] }[];
}

export interface BootRules {
  readonly family: Family;
  readonly path: string;
  /** Undefined: there is no such file. */
  readonly text: Read<string | undefined>;
}

export interface Facts {
  /** Wall time, ms since 1970. */
  readonly nowMs: number;
  readonly mode: 'observe' | 'merge';
  readonly config: Read<string>;
  readonly daemon: DaemonFact;
  readonly own: Read<OwnState>;
  readonly engines: Read<readonly EngineFact[]>;
  /** Families whose live rules cannot be read, though we may. */
  readonly unreadable: readonly { readonly family: Family; readonly why: string }[];
  readonly rules: Read<Rules>;
  /** What a pass would find; unread without a snapshot. */
  readonly drift: Read<readonly Drift[]>;
  /** What libvirt's nftables backend lacks. */
  readonly libvirtNative: Read<readonly Drift[]>;
  readonly blocked: Read<readonly BlockedFact[]>;
  readonly ways: Read<Ways>;
  readonly bridges: Read<Bridges>;
  readonly ipv6: Read<boolean>;
  readonly bootRules: readonly BootRules[];
  /** /etc/nftables.conf and the like, each with what it includes. */
  readonly nftFiles: readonly { readonly path: string; readonly text: Read<string | undefined> }[];
  /** Files that say how other programs behave, by path; one that is not there is undefined. */
  readonly files: ReadonlyMap<string, Read<string | undefined>>;
  /** Units that start at boot: `nftables.service`. */
  readonly enabled: Read<ReadonlySet<string>>;
  readonly firewalld: Read<FirewalldFact>;
  readonly hooks: Read<readonly HookFact[]>;
  readonly bus: Read<BusFact>;
}

export const pass = (evidence: string): Finding => ({ verdict: 'PASS', evidence });
export const skip = (why: string): Finding => ({ verdict: 'SKIP', evidence: why });
export const warn = (evidence: string, paste: string): Finding => ({ verdict: 'WARN', evidence, paste });
export const fail = (evidence: string, paste: string): Finding => ({ verdict: 'FAIL', evidence, paste });

/** SKIP where it could not be read; PASS with `fine` where nothing was found. */
export function judged<T>(read: Read<T>, fine: string, judge: (value: T) => readonly Finding[]): readonly Finding[] {
  if (read.kind === 'unread') return [skip(read.why)];
  const found = judge(read.value);
  return found.length > 0 ? found : [pass(fine)];
}

/** mendwall runs and puts right what others wipe. */
export const isMended = ({ daemon, mode }: Facts): boolean => daemon === 'running' && mode === 'merge';

export const MEND = 'mendwall mend --mode merge';
/** With a daemon in merge mode the neighbours' part comes back by itself. */
export const GUARD = `mkdir -p /etc/mendwall/conf.d; echo 'mode = "merge"' > /etc/mendwall/conf.d/50-mode.toml; systemctl enable mendwall; systemctl restart mendwall`;

export const IPTABLES: Readonly<Record<Family, string>> = { ip: 'iptables', ip6: 'ip6tables' };
/** `1 rule`, `3 rules` */
export const counted = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`;
