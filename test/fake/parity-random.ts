// Random but repeatable sequences of commands for the parity test: small names, so that they meet.

import type { ParityStep } from './parity-scenarios.ts';
import { load, run } from './parity-scenarios.ts';

/** mulberry32: a small seeded generator, numbers in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const TABLES = ['filter', 'filter', 'filter', 'mangle', 'raw'];
const BUILTIN = ['INPUT', 'FORWARD', 'OUTPUT', 'PREROUTING'];
const OWN = ['a', 'b', 'C', 'LIBVIRT_FWI'];
const TARGETS = ['ACCEPT', 'DROP', 'RETURN'];

export function randomSteps(seed: number, count: number): ParityStep[] {
  const random = seeded(seed);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  const chain = (): string => pick(random() < 0.6 ? BUILTIN : OWN);
  const rule = (): string =>
    `${pick(['', `-s 10.0.0.${Math.floor(random() * 3)}/32 `, '-i virbr0 ', '-p tcp -m tcp --dport 22 '])}-j ${pick(random() < 0.8 ? TARGETS : jumps(random))}`;
  const place = (): number => 1 + Math.floor(random() * 3);
  const edits: readonly (() => string)[] = [
    () => `-A ${chain()} ${rule()}`,
    () => `-A ${chain()} ${rule()}`,
    () => `-I ${chain()} ${place()} ${rule()}`,
    () => `-D ${chain()} ${rule()}`,
    () => `-D ${chain()} ${place()}`,
    () => `-N ${pick(OWN)}`,
    () => `-F ${chain()}`,
    () => `-X ${pick(OWN)}`,
    () => `-P ${pick(BUILTIN)} ${pick(['ACCEPT', 'DROP'])}`,
  ];
  const lineEdits: readonly (() => string)[] = [
    ...edits,
    () => `:${pick(OWN)} - [0:0]`,
    () => `:${pick(BUILTIN)} ACCEPT [1:2]`,
  ];
  const table = (): string => pick(TABLES);

  function restore(): ParityStep {
    const lines = Array.from({ length: 1 + Math.floor(random() * 4) }, () => pick(lineEdits)());
    return load(pick(['-n', '-n', '-n -c', '', '-c']), `*${table()}`, ...lines, 'COMMIT');
  }

  const step = (): ParityStep => {
    if (random() < 0.4) return restore();
    if (random() < 0.05) return run(`iptables -t ${table()} ${pick(['-F', '-X', '-Z'])}`);
    return run(
      `${pick(['iptables', 'iptables', 'ip6tables'])} -t ${table()} ${pick(edits)()}`.replace('10.0.0.', '10.0.0.'),
    );
  };
  return Array.from({ length: count }, step).map(onlyValidFamily);
}

const jumps = (random: () => number): string[] => [OWN[Math.floor(random() * OWN.length)]!];

/** IPv4 addresses do not belong into ip6tables. */
const onlyValidFamily = (step: ParityStep): ParityStep =>
  step.file === 'ip6tables'
    ? { ...step, args: step.args.map((arg) => arg.replace(/^10\.0\.0\.(\d)\/32$/, 'fd00::5$1/128')) }
    : step; // "10.0.0.1/32"
