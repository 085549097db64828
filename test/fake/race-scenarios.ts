// What happens to our restore when somebody else commits between its read and its commit (iptables-nft only: legacy has a lock).

import { load, run, type ParityStep } from './parity-scenarios.ts';

export interface RaceScenario {
  readonly name: string;
  /** Lines of our `iptables-restore --noflush`, filter table. */
  readonly ours: readonly string[];
  /** In the window. */
  readonly theirs: readonly ParityStep[];
}

const drop = (octet: number): string => `-A FORWARD -s ${octet}.${octet}.${octet}.${octet}/32 -j DROP`;

/** What stands before: a chain `x` and `mw-1`, four rules in FORWARD. */
export const RACE_SETUP: ParityStep = load(
  '',
  '*filter',
  ':mw-1 - [0:0]',
  ':x - [0:0]',
  ...[1, 2, 3, 4].map(drop),
  'COMMIT',
);

/** The same rules behind another one: handles now belong to other rules. */
const OTHER_LOAD = load('', '*filter', ':x - [0:0]', ...[9, 8, 1, 2, 3, 4].map(drop), 'COMMIT');

const race = (name: string, ours: readonly string[], ...theirs: readonly ParityStep[]): RaceScenario => ({
  name,
  ours,
  theirs,
});

export const RACE_SCENARIOS: readonly RaceScenario[] = [
  race('an insertion whose anchor goes', ['-I FORWARD 3 -j x'], run('iptables -D FORWARD 3')),
  race('an insertion whose neighbour goes', ['-I FORWARD 3 -j x'], run('iptables -D FORWARD 2')),
  race('an insertion when another comes to the top', ['-I FORWARD 3 -j x'], run('iptables -I FORWARD -j ACCEPT')),
  race(
    'an insertion when another comes to the same place',
    ['-I FORWARD 3 -j x'],
    run('iptables -I FORWARD 3 -j ACCEPT'),
  ),
  race('an insertion at the top', ['-I FORWARD 1 -j x'], run('iptables -I FORWARD -j ACCEPT')),
  race('an insertion behind the last', ['-I FORWARD 5 -j x'], run('iptables -A FORWARD -j ACCEPT')),
  race('an insertion behind the last, which goes', ['-I FORWARD 5 -j x'], run('iptables -D FORWARD 4')),
  race('an append', ['-A FORWARD -j x'], run('iptables -A FORWARD -j ACCEPT')),
  race('a deletion of a rule that goes', [drop(2).replace('-A', '-D')], run('iptables -D FORWARD 2')),
  race(
    'a deletion of a rule that goes and comes',
    [drop(2).replace('-A', '-D')],
    run('iptables -D FORWARD 2'),
    run('iptables -A FORWARD -s 2.2.2.2/32 -j DROP'),
  ),
  race('a commit in another table', [drop(2).replace('-A', '-D')], run('iptables -t mangle -A FORWARD -j ACCEPT')),
  race('an append when everything goes', ['-A FORWARD -j DROP'], run('nft flush ruleset')),
  race('an append to a chain of its own when everything goes', ['-A x -j DROP'], run('nft flush ruleset')),
  race('the first use of a chain whose policy is set', ['-A OUTPUT -j DROP'], run('iptables -P OUTPUT DROP')),
  race('a chain that another makes too', ['-N y'], run('iptables -N y')),
  race(
    'a chain declared that another makes and fills',
    [':y - [0:0]', '-A y -j RETURN'],
    run('iptables -N y'),
    run('iptables -A y -j DROP'),
  ),
  race('a chain emptied that another fills', [':x - [0:0]', '-A x -j RETURN'], run('iptables -A x -j DROP')),
  race('a chain emptied that another deletes', [':x - [0:0]', '-A x -j RETURN'], run('iptables -X x')),
  race('a flush when another appends', ['-F FORWARD', '-A FORWARD -j RETURN'], run('iptables -A FORWARD -j DROP')),
  race(
    'two insertions at one place, and a third',
    ['-I FORWARD 3 -j x', '-I FORWARD 3 -j ACCEPT'],
    run('iptables -I FORWARD 3 -j RETURN'),
  ),
  race(
    'a full load without our lock: other rules are deleted, exit code 0',
    [drop(1), drop(2)].map((rule) => rule.replace('-A', '-D')),
    OTHER_LOAD,
  ),
  race('a full load with our lock: nothing happens', ['-X mw-1', '-N mw-2', drop(1).replace('-A', '-D')], OTHER_LOAD),
  race(
    'a single insertion with our lock',
    ['-X mw-1', '-N mw-2', drop(1).replace('-A', '-D')],
    run('iptables -I FORWARD -j ACCEPT'),
  ),
];
