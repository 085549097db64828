// What rules on trial need in the lab: rule files on the host, a command that dies at a chosen moment, a terminal that can be
// taken away, an ssh-like session with a real TCP flow. Starts no guard.

import type { Hypervisor } from './host.ts';
import { mendwall } from './guard-process.ts';
import { REPOSITORY } from './namespaces.ts';
import type { ExecOptions, LabProcess } from './place.ts';
import { HYPERVISOR_ADDRESS, OUTSIDE_ADDRESS } from './wiring.ts';

const PROGRAM = `${REPOSITORY}/dist/mendwall.cjs`;
export const RULES_DIR = '/etc/mendwall/rules.d';

/** Writes rule files, and takes away those that were there. */
export async function writeRules(hypervisor: Hypervisor, files: Readonly<Record<string, string>>): Promise<void> {
  await hypervisor.sh(`rm -rf ${RULES_DIR}; mkdir -p ${RULES_DIR}`);
  for (const [name, text] of Object.entries(files)) hypervisor.writeFile(`${RULES_DIR}/${name}`, text);
}

/** All rules without counters, dates and mendwall's locks. */
export async function rulesNow(hypervisor: Hypervisor): Promise<string> {
  const { ip, ip6 } = await hypervisor.save();
  const native = await hypervisor.sh('nft -s list tables');
  const isOurs = (line: string): boolean => line.startsWith(':mw-');
  return [ip, ip6, native]
    .map((text) =>
      text
        .split('\n')
        .filter((line) => !isOurs(line))
        .join('\n'),
    )
    .join('\n');
}

/** A trial is on record. */
export async function isOnTrial(hypervisor: Hypervisor): Promise<boolean> {
  return (await hypervisor.exec('sh', ['-c', 'ls /var/lib/mendwall/trial*'])).exitCode === 0;
}

export async function until(what: () => Promise<boolean>, within: number, said: string): Promise<void> {
  for (const endMs = performance.now() + within; !(await what());) {
    if (performance.now() > endMs) throw new Error(`${said}: not within ${within} ms`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The moment at which a command dies: a program that it runs then. */
export type Stage =
  'at the pre-flight' | 'at the second look' | 'before the commit' | 'during the commit' | 'after the commit';

/** Which call of which program, and what of it is done before the death. */
const STAGES: Readonly<
  Record<Stage, { readonly tool: string; readonly call: number; readonly done: 'none' | 'half' | 'all' }>
> = {
  'at the pre-flight': { tool: 'ss', call: 1, done: 'all' },
  'at the second look': { tool: 'ss', call: 2, done: 'all' },
  'before the commit': { tool: 'iptables-restore', call: 1, done: 'none' },
  'during the commit': { tool: 'iptables-restore', call: 1, done: 'half' },
  'after the commit': { tool: 'iptables-restore', call: 1, done: 'all' },
};
export const ALL_STAGES = Object.keys(STAGES) as readonly Stage[];

/** First in the fixed PATH of mendwall's own children; a tmpfs of this hypervisor's own goes over it. */
const BIN = '/usr/local/sbin';

/**
 * Runs a command of mendwall that is killed (-9), its parent with it, at a moment: a stand-in for one of its tools does it.
 * Tools in a throw-away namespace do not count. Resolves when both are gone.
 */
export async function dieAt(hypervisor: Hypervisor, stage: Stage, ...args: readonly string[]): Promise<void> {
  const { tool, call, done } = STAGES[stage];
  const real = (await hypervisor.sh(`command -v ${tool}`)).trim();
  hypervisor.writeFile('/run/lab/stand-in', standIn({ real, call, done }));
  await hypervisor.sh(`mount -t tmpfs tmpfs ${BIN}; readlink /proc/self/ns/net > ${BIN}/netns
    install -m 0755 /run/lab/stand-in ${BIN}/${tool}`);
  try {
    const line = `echo $$ > ${BIN}/parent; node ${PROGRAM} ${args.join(' ')}; true`;
    const told = await hypervisor.exec('sh', ['-c', line], { timeoutMs: 30_000 });
    if (told.exitCode !== 137) throw new Error(`${stage}: nothing died: ${told.exitCode} ${told.stdout}${told.stderr}`);
  } finally {
    await hypervisor.sh(`umount -l ${BIN}`);
  }
}

interface Deadly {
  readonly real: string;
  readonly call: number;
  readonly done: 'none' | 'half' | 'all';
}

/** The folder may be gone for those who run on after the death. */
const standIn = ({ real, call, done }: Deadly): string => `#!/bin/sh
[ "$(readlink /proc/self/ns/net)" = "$(cat ${BIN}/netns)" ] || exec ${real} "$@"
echo >> ${BIN}/calls
[ "$(wc -l < ${BIN}/calls)" = ${call} ] || exec ${real} "$@"
${{ none: '', half: `head -c 20 | ${real} "$@"`, all: `${real} "$@"` }[done]}
parent=$(cat ${BIN}/parent)
kill -9 $(pgrep -P "$parent") "$parent"
`;

/** A command on a terminal of its own (`script`); what is written is typed there. `[y/N]` ends a line, so that it can be waited for. */
export function onTerminal(
  hypervisor: Hypervisor,
  words: string,
  env: Readonly<Record<string, string>> = {},
): LabProcess {
  const line = `script -qfec 'node ${PROGRAM} ${words}' /dev/null | stdbuf -o0 tr ']' '\n'`;
  return hypervisor.spawn('bash', ['-o', 'pipefail', '-c', line], { env: { PAGER: 'cat', ...env } });
}

/** The pid inside of the command on a terminal. */
export async function pidOf(hypervisor: Hypervisor, words: string): Promise<number> {
  return Number((await hypervisor.sh(`pgrep -o -f '^node ${PROGRAM} ${words}'`)).trim());
}

const SSHD = `use IO::Socket::INET; $0 = "sshd"; $| = 1;
my $l = IO::Socket::INET->new(LocalAddr => "0.0.0.0", LocalPort => $ARGV[0], Listen => 5, ReuseAddr => 1) or die "listen: $!";
print "listening\\n";
while (my $c = $l->accept) { next if fork; $0 = "sshd"; while (<$c>) { print $c $_ } exit }`;
const CLIENT = `use IO::Socket::INET; $| = 1;
my $c = IO::Socket::INET->new(PeerAddr => "${HYPERVISOR_ADDRESS}", PeerPort => $ARGV[0], Timeout => 3) or die "connect: $!";
print $c->sockport, " connected\\n"; while (<STDIN>) { print $c $_; my $a = <$c>; print "echo $a" }`;

export interface SshSession {
  /** Value of SSH_CONNECTION in it. */
  readonly connection: string;
  /** A line goes there and comes back within 2 s. */
  answers(): Promise<boolean>;
  end(): Promise<void>;
}

/** A process named sshd that listens, and one session from the outside host: a real TCP flow. */
export async function openSession(hypervisor: Hypervisor, port = 22): Promise<SshSession> {
  const sshd = hypervisor.spawn('perl', ['-e', SSHD, String(port)]);
  await sshd.waitFor(/listening/);
  const client = hypervisor.outside.spawn('perl', ['-e', CLIENT, String(port)]);
  const [clientPort] = (await client.waitFor(/connected/)).split(' ');
  let said = 0;
  return {
    connection: `${OUTSIDE_ADDRESS} ${clientPort} ${HYPERVISOR_ADDRESS} ${port}`,
    answers: async () => {
      const word = `line${++said}`;
      client.write(`${word}\n`);
      return client.waitFor(new RegExp(`echo ${word}$`), 2_000).then(
        () => true,
        () => false,
      );
    },
    end: async () => {
      await client.stop();
      await sshd.stop();
    },
  };
}

/** Runs a verb with variables of the environment. */
export const mendwallWith = (
  hypervisor: Hypervisor,
  env: NonNullable<ExecOptions['env']>,
  ...args: readonly string[]
): ReturnType<typeof mendwall> => hypervisor.exec('node', [PROGRAM, ...args], { timeoutMs: 60_000, env });
