// What libvirtd runs, command by command, in its order: the iptables backend of libvirt 9.0 (11.3 is the same).
// Checked against its own log in libvirt-commands.test.ts. Every command is one process and one kernel transaction.

import type { ParityStep } from '../fake/parity-scenarios.ts';
import type { BridgeNetwork } from './libvirt-rules.ts';

/** `/usr/sbin/iptables`, then its arguments. */
export type Argv = readonly string[];

const IPTABLES = '/usr/sbin/iptables';
const FAMILY_PROGRAMS = [IPTABLES, '/usr/sbin/ip6tables'] as const;

const argv = (program: string, table: string, line: string): Argv => [
  program,
  '-w',
  '--table',
  table,
  ...line.split(' '),
];

/** The six `--list-rules` by which libvirt looks for its chains and jumps. */
export const listCommands = (): Argv[] =>
  FAMILY_PROGRAMS.flatMap((program) =>
    ['filter', 'nat', 'mangle'].map((table) => argv(program, table, '--list-rules')),
  );

/** Table, built-in chain and private chain, in the order of iptablesSetupPrivateChains. */
export const PRIVATE_CHAINS: readonly (readonly [table: string, parent: string, chain: string])[] = [
  ['filter', 'INPUT', 'LIBVIRT_INP'],
  ['filter', 'OUTPUT', 'LIBVIRT_OUT'],
  ['filter', 'FORWARD', 'LIBVIRT_FWO'],
  ['filter', 'FORWARD', 'LIBVIRT_FWI'],
  ['filter', 'FORWARD', 'LIBVIRT_FWX'],
  ['nat', 'POSTROUTING', 'LIBVIRT_PRT'],
  ['mangle', 'POSTROUTING', 'LIBVIRT_PRT'],
];

const accept = (verb: string, chain: string, net: BridgeNetwork, protocol: string, port: number): Argv => {
  const side = chain === 'LIBVIRT_INP' ? '--in-interface' : '--out-interface';
  return argv(
    IPTABLES,
    'filter',
    `${verb} ${chain} ${side} ${net.bridge} --protocol ${protocol} --destination-port ${port} --jump ACCEPT`,
  );
};

/** Services of the host, in the order of insertion; deletions go in an order of their own. */
const SERVICES_IN = [
  ['LIBVIRT_INP', 'tcp', 67],
  ['LIBVIRT_INP', 'udp', 67],
  ['LIBVIRT_OUT', 'tcp', 68],
  ['LIBVIRT_OUT', 'udp', 68],
  ['LIBVIRT_INP', 'tcp', 53],
  ['LIBVIRT_INP', 'udp', 53],
  ['LIBVIRT_OUT', 'tcp', 53],
  ['LIBVIRT_OUT', 'udp', 53],
] as const;
const SERVICES_OUT = [
  ['LIBVIRT_INP', 'udp', 53],
  ['LIBVIRT_INP', 'tcp', 53],
  ['LIBVIRT_OUT', 'udp', 53],
  ['LIBVIRT_OUT', 'tcp', 53],
  ['LIBVIRT_OUT', 'udp', 68],
  ['LIBVIRT_OUT', 'tcp', 68],
  ['LIBVIRT_INP', 'udp', 67],
  ['LIBVIRT_INP', 'tcp', 67],
] as const;

/** Forwarding and NAT rules of a NAT network, in the order of insertion. */
function forwardLines({ bridge, subnet }: BridgeNetwork, verb: string): (readonly [string, string])[] {
  const outside = `! --destination ${subnet} --jump MASQUERADE`;
  return [
    ['filter', `${verb} LIBVIRT_FWO --in-interface ${bridge} --jump REJECT`],
    ['filter', `${verb} LIBVIRT_FWI --out-interface ${bridge} --jump REJECT`],
    ['filter', `${verb} LIBVIRT_FWX --in-interface ${bridge} --out-interface ${bridge} --jump ACCEPT`],
    ['filter', `${verb} LIBVIRT_FWO --source ${subnet} --in-interface ${bridge} --jump ACCEPT`],
    [
      'filter',
      `${verb} LIBVIRT_FWI --destination ${subnet} --out-interface ${bridge} --match conntrack --ctstate ESTABLISHED,RELATED --jump ACCEPT`,
    ],
    ['nat', `${verb} LIBVIRT_PRT --source ${subnet} ${outside}`],
    ['nat', `${verb} LIBVIRT_PRT --source ${subnet} -p udp ${outside} --to-ports 1024-65535`],
    ['nat', `${verb} LIBVIRT_PRT --source ${subnet} -p tcp ${outside} --to-ports 1024-65535`],
    ['nat', `${verb} LIBVIRT_PRT --source ${subnet} --destination 255.255.255.255/32 --jump RETURN`],
    ['nat', `${verb} LIBVIRT_PRT --source ${subnet} --destination 224.0.0.0/24 --jump RETURN`],
    [
      'mangle',
      `${verb} LIBVIRT_PRT --out-interface ${bridge} --protocol udp --destination-port 68 --jump CHECKSUM --checksum-fill`,
    ],
  ];
}

/** networkAddFirewallRules: 19 inserts. */
export const addRules = (net: BridgeNetwork): Argv[] => [
  ...SERVICES_IN.map(([chain, protocol, port]) => accept('--insert', chain, net, protocol, port)),
  ...forwardLines(net, '--insert').map(([table, line]) => argv(IPTABLES, table, line)),
];

/** networkRemoveFirewallRules: 19 deletions, each allowed to fail. */
export const removeRules = (net: BridgeNetwork): Argv[] => [
  ...forwardLines(net, '--delete')
    .reverse()
    .map(([table, line]) => argv(IPTABLES, table, line)),
  ...SERVICES_OUT.map(([chain, protocol, port]) => accept('--delete', chain, net, protocol, port)),
];

export const netStart = addRules;
export const netDestroy = removeRules;

/** SIGHUP, and `net-update` of most sections: network by network, all deletions, then all inserts. */
export const sighup = (networks: readonly BridgeNetwork[]): Argv[] =>
  networks.flatMap((net) => [...removeRules(net), ...addRules(net)]);

/** What a command answered; libvirt reads the listings. */
export interface Answer {
  readonly exitCode: number;
  readonly stdout: string;
}

type Session = Generator<Argv, void, Answer>;

/** Chains and jumps, as far as the listing does not show them; the check is textual. */
function* setUpPrivateChains(program: string): Session {
  const listings = new Map<string, string>();
  for (const table of ['filter', 'nat', 'mangle']) {
    const { stdout } = yield argv(program, table, '--list-rules');
    listings.set(table, `\n${stdout}`);
  }
  for (const [table, parent, chain] of PRIVATE_CHAINS) {
    const listing = listings.get(table)!;
    if (!listing.includes(`\n-N ${chain}\n`)) yield argv(program, table, `--new-chain ${chain}`);
    if (!listing.includes(`\n-A ${parent} -j ${chain}\n`))
      yield argv(program, table, `--insert ${parent} --jump ${chain}`);
  }
}

/** Daemon start and firewalld's `Reloaded`: chains and jumps that are missing, then every running network anew. */
export function* reload(networks: readonly BridgeNetwork[]): Session {
  for (const program of FAMILY_PROGRAMS) yield* setUpPrivateChains(program);
  for (const command of sighup(networks)) yield command;
}

/** The first net-start of a libvirtd life. */
export function* firstNetStart(net: BridgeNetwork): Session {
  for (const program of FAMILY_PROGRAMS) yield* setUpPrivateChains(program);
  for (const command of addRules(net)) yield command;
}

/** Runs a session against anything that answers commands; the commands, in order. */
export function drive(session: Session, answer: (command: Argv) => Answer): Argv[] {
  const ran: Argv[] = [];
  let next = session.next({ exitCode: 0, stdout: '' });
  while (!next.done) {
    ran.push(next.value);
    next = session.next(answer(next.value));
  }
  return ran;
}

const DEFAULT: BridgeNetwork = { name: 'default', bridge: 'virbr0', subnet: '192.168.122.0/24' };
const SECOND: BridgeNetwork = { name: 'second', bridge: 'virbr1', subnet: '192.168.123.0/24' };

/** A life of libvirt for the parity test; from an empty kernel the listings are known beforehand. */
export function libvirtSession(): ParityStep[] {
  const first = drive(firstNetStart(DEFAULT), () => ({ exitCode: 0, stdout: '' }));
  const all = [
    ...first,
    ...netStart(SECOND),
    ...sighup([DEFAULT, SECOND]),
    ...netDestroy(DEFAULT),
    ...netStart(DEFAULT),
    ...netDestroy(SECOND),
  ];
  return all.map(([file = '', ...args]) => ({ file: file.replace('/usr/sbin/', ''), args, input: '' }));
}
