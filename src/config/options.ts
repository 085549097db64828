// Every option of mendwall.toml: its key, what it may be, its default, what it is for. Data only; config.ts reads files by it,
// `init` writes the commented default file from it, `config show` prints it.

import { NEIGHBOURS } from '../owners/index.ts';

export type Value = string | number | boolean;

export interface Option {
  /** Dotted: `libvirt.repair`. */
  readonly key: string;
  /** `one of`: the words; `number`: a whole number not below `least`; `path`: absolute. */
  readonly type:
    | { readonly kind: 'one of'; readonly words: readonly string[] }
    | { readonly kind: 'boolean' }
    | { readonly kind: 'number'; readonly least: number }
    | { readonly kind: 'path' };
  readonly initial: Value;
  readonly about: string;
}

const oneOf = (...words: string[]): Option['type'] => ({ kind: 'one of', words });
const BOOLEAN: Option['type'] = { kind: 'boolean' };
const PATH: Option['type'] = { kind: 'path' };
const number = (least: number): Option['type'] => ({ kind: 'number', least });

/** `[repair]`: one key for each neighbour whose file says how it can be put right without a person. */
const REPAIRS: readonly Option[] = NEIGHBOURS.filter(({ repair }) => repair.ask !== undefined || repair.reinsert).map(
  ({ id, repair }) => ({
    key: `repair.${id}`,
    type: oneOf('off', ...(repair.ask === undefined ? [] : ['ask']), ...(repair.reinsert === true ? ['reinsert'] : [])),
    initial: 'off',
    about:
      repair.ask === undefined
        ? 'in merge mode, put its last known rules back by text'
        : `in merge mode, run \`${repair.ask.join(' ')}\`${repair.onRequest ? `: ${repair.note}` : ''}`,
  }),
);

export const OPTIONS: readonly Option[] = [
  {
    key: 'mode',
    type: oneOf('observe', 'merge'),
    initial: 'observe',
    about: 'observe: look and say. merge: put right, too',
  },
  {
    key: 'user.on_delete',
    type: oneOf('pending', 'restore'),
    initial: 'pending',
    about: 'a single rule of yours was deleted by hand: leave it so (pending), or put it back',
  },
  {
    key: 'user.on_load',
    type: oneOf('adopt', 'restore'),
    initial: 'adopt',
    about: 'a whole ruleset was loaded: adopt it as the new snapshot, or put the snapshot back',
  },
  {
    key: 'user.pin_drops',
    type: BOOLEAN,
    initial: false,
    about: 'in merge mode, hold your drops a second time, in nft tables of our own; not below a rule that logs',
  },
  {
    key: 'user.pin_owner',
    type: BOOLEAN,
    initial: false,
    about:
      'with pin_drops: let nobody else change those tables; `nft -f` of a file that lists one then fails as a whole',
  },
  {
    key: 'user.source',
    type: oneOf('snapshot', 'files'),
    initial: 'snapshot',
    about: 'where your rules are written down: the latest snapshot, or the rule files',
  },
  { key: 'libvirt.repair', type: BOOLEAN, initial: true, about: "put libvirt's own rules back after a wipe" },
  {
    key: 'libvirt.open_guests',
    type: BOOLEAN,
    initial: false,
    about:
      'in merge mode, keep rules in your chains that let through what libvirt lets through and your catch-all stops',
  },
  {
    key: 'libvirt.fix_conntrack',
    type: BOOLEAN,
    initial: false,
    about: 'delete the conntrack entries of flows that left without NAT meanwhile',
  },
  {
    key: 'contention.budget',
    type: number(1),
    initial: 5,
    about: 'so often the order of a chain is mended against one rival ...',
  },
  {
    key: 'contention.window_s',
    type: number(1),
    initial: 60,
    about: '... in so many seconds; then it is left alone until the rival is quiet',
  },
  { key: 'snapshots.keep_last', type: number(1), initial: 100, about: '`snapshot prune` keeps the newest so many' },
  {
    key: 'snapshots.keep_days',
    type: number(0),
    initial: 90,
    about: '`snapshot prune` keeps those of the last so many days',
  },
  ...REPAIRS,
  { key: 'log.format', type: oneOf('text', 'json'), initial: 'text', about: 'lines of the daemon' },
  { key: 'paths.state', type: PATH, initial: '/var/lib/mendwall', about: 'snapshots and journal' },
  { key: 'paths.rules', type: PATH, initial: '/etc/mendwall/rules.d', about: 'rule files: NN-name.v4, .v6, .nft' },
  { key: 'paths.run', type: PATH, initial: '/run/mendwall', about: 'locks and control socket' },
  {
    key: 'paths.procfs',
    type: PATH,
    initial: '/proc',
    about: "the initial pid namespace's /proc: the kernel reports pids of that one",
  },
  { key: 'paths.spool', type: PATH, initial: '/run/mendwall/spool', about: "where libvirt's hooks leave their words" },
];

/** What an option may be, in words. */
export function expected(option: Option): string {
  switch (option.type.kind) {
    case 'one of':
      return option.type.words.map((word) => `"${word}"`).join(' or ');
    case 'boolean':
      return 'true or false';
    case 'number':
      return `a whole number, ${option.type.least} or more`;
    case 'path':
      return 'an absolute path, as in "/var/lib/mendwall"';
  }
}

export function accepts({ type }: Option, value: unknown): value is Value {
  switch (type.kind) {
    case 'one of':
      return typeof value === 'string' && type.words.includes(value);
    case 'boolean':
      return typeof value === 'boolean';
    case 'number':
      return typeof value === 'number' && Number.isInteger(value) && value >= type.least;
    case 'path':
      return typeof value === 'string' && value.startsWith('/');
  }
}

/** Programs that mendwall does not know; owners.ts reads them. */
const OWNERS_EXAMPLE = [
  '',
  "# A program that mendwall does not know, told by its chains, its rules' comment or its native tables; as many as you need.",
  '#   [[owners]]',
  '#   name = "acme-agent"',
  '#   chains = ["ACME", "ACME-*"]',
  '#   comment = "acme:*"',
  '#   tables = ["inet acme*"]',
  '#   top = false',
  '#   repair = "systemctl restart acme-agent"',
];

/** Network namespaces guarded beside the daemon's own; netns.ts reads them. */
const NETNS_EXAMPLE = [
  '',
  "# Network namespaces that the daemon guards as well, by name; * stands for the rest. Without mode: the daemon's.",
  '#   [[netns]]',
  '#   pattern = "qrouter-*"',
  '#   mode = "observe"',
];

/** Above whom the user's rules are to stand; order.ts reads them. */
const ORDER_EXAMPLE = [
  '',
  "# A chain whose rules of yours are to stand above a neighbour's, but for what ends the chain; as many as you need.",
  '#   [[order]]',
  '#   user_chain = "INPUT"',
  '#   above = "fail2ban"',
];

/** The default file: every option commented out, so that it says what there is and sets nothing. */
export function defaultConfigText(): string {
  const lines = [
    '# mendwall.toml: every option is optional; what stands behind a # is the default.',
    '# Files in conf.d/*.toml beside this one are read after it, in the order of their names.',
    '',
  ];
  let section = '';
  for (const option of OPTIONS) {
    const [first = '', second] = option.key.split('.');
    const name = second ?? first;
    if (second !== undefined && first !== section) lines.push('', `[${first}]`);
    if (first === 'repair' && first !== section)
      lines.push('# What is done about a neighbour that has lost rules to somebody else, at most three times an hour.');
    section = second === undefined ? '' : first;
    lines.push(`# ${option.about}`, `# ${name} = ${JSON.stringify(option.initial)}`);
  }
  return `${[...lines, ...OWNERS_EXAMPLE, ...NETNS_EXAMPLE, ...ORDER_EXAMPLE].join('\n')}\n`;
}
