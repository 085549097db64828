// What an admin does to the firewall, one command at a time, as a person or a script runs them.

import type { Steps } from './fake-libvirt.ts';
import type { Room } from './machine-room.ts';

export type Act =
  /** One command that changes one rule or one policy. Numbers pick among what stands: `rule` a user rule, `at` a place. */
  | {
      readonly kind: 'edit';
      readonly edit: 'append' | 'insert' | 'delete' | 'delete-at' | 'replace' | 'policy';
      readonly chain: number;
      readonly at: number;
      readonly rule: number;
    }
  | { readonly kind: 'wipe'; readonly how: 'flush' | 'flush-nat' | 'flush-chain' | 'flush-delete' | 'nft' }
  /** `iptables-restore`: a new text of the user's own rules, or a dump as it was some time ago. */
  | { readonly kind: 'load'; readonly text: string }
  | { readonly kind: 'dump' }
  /** `-F; -X; -N ...; -A ...` by a shell script. */
  | { readonly kind: 'script'; readonly rules: readonly string[] };

const CHAINS = ['INPUT', 'FORWARD', 'OUTPUT', 'FORWARD'] as const;
const FRESH_RULES = [
  '-p tcp -m tcp --dport 2222 -j ACCEPT',
  '-s 203.0.113.9/32 -j DROP',
  '-p udp -m udp --dport 1194 -j ACCEPT',
  '-s 10.0.0.0/8 -j ACCEPT',
  '-j LOG --log-prefix "seen: "',
];

const SHELL = { parents: [{ pid: 60, comm: 'bash', cmdline: ['-bash'] }] };
const SCRIPT_PID = 61;
const SCRIPT = { parents: [{ pid: SCRIPT_PID, comm: 'bash', cmdline: ['bash', '/root/firewall.sh'] }] };

/** `heard` is called when the act has said what the user wants: its result is the user's word. */
export function* adminSteps(room: Room, act: Act, heard: () => void): Steps {
  const { kernel } = room.machine;
  switch (act.kind) {
    case 'edit': {
      const command = editCommand(kernel.save('ip'), act);
      if (command !== undefined) kernel.foreign(command, '', SHELL);
      heard();
      return;
    }
    case 'wipe':
      yield* wipe(room, act.how);
      return;
    case 'load':
      kernel.foreign(['iptables-restore'], act.text, SHELL);
      heard();
      return;
    case 'dump': {
      const text = kernel.save('ip');
      yield;
      yield;
      kernel.foreign(['iptables-restore'], text, SHELL);
      heard();
      return;
    }
    case 'script':
      yield* script(room, act.rules);
      heard();
      return;
  }
}

function* wipe({ machine: { kernel } }: Room, how: Extract<Act, { kind: 'wipe' }>['how']): Steps {
  const run = (line: string): void => void kernel.foreign(line.split(' '), '', SHELL);
  switch (how) {
    case 'flush':
      return run('iptables -F');
    case 'flush-nat':
      return run('iptables -t nat -F');
    case 'flush-chain':
      return run('iptables -F FORWARD');
    case 'nft':
      return run('nft flush ruleset');
    case 'flush-delete':
      run('iptables -F');
      run('iptables -X');
  }
}

function* script({ machine: { kernel }, proc }: Room, rules: readonly string[]): Steps {
  proc.set(`/proc/${SCRIPT_PID}/comm`, 'bash\n');
  for (const line of ['-F', '-X', '-N own', ...rules, '-P FORWARD ACCEPT']) {
    kernel.foreign(['iptables', ...wordsOf(line)], '', SCRIPT);
    yield;
  }
  proc.delete(`/proc/${SCRIPT_PID}/comm`);
}

/** `-A INPUT -j LOG --log-prefix "a b"` to words. */
export const wordsOf = (line: string): string[] =>
  (line.match(/"[^"]*"|\S+/g) ?? []).map((word) => word.replace(/^"|"$/g, ''));

type EditAct = Extract<Act, { kind: 'edit' }>;

/** undefined: there is nothing to delete or replace. */
function editCommand(live: string, act: EditAct): string[] | undefined {
  const chain = CHAINS[act.chain % CHAINS.length] as string;
  const filter = live.slice(live.indexOf('*filter'), live.indexOf('COMMIT', live.indexOf('*filter')));
  const rules = filter.split('\n').filter((line) => line.startsWith(`-A ${chain} `));
  const mine = rules.flatMap((rule, index) => (/ -j LIBVIRT_/.test(rule) ? [] : [index]));
  const fresh = wordsOf(FRESH_RULES[act.rule % FRESH_RULES.length] as string);
  const picked = mine[act.rule % Math.max(1, mine.length)];
  if (act.edit === 'policy') return ['iptables', '-P', chain, act.rule % 2 === 0 ? 'DROP' : 'ACCEPT'];
  if (act.edit === 'append') return ['iptables', '-A', chain, ...fresh];
  if (act.edit === 'insert') return ['iptables', '-I', chain, String(1 + (act.at % (rules.length + 1))), ...fresh];
  // The last rule of a chain is not taken: that would be an empty chain, which is a case of its own.
  if (picked === undefined || (mine.length === 1 && act.edit !== 'replace')) return undefined;
  if (act.edit === 'delete') return ['iptables', '-D', ...wordsOf((rules[picked] as string).slice(3))];
  if (act.edit === 'delete-at') return ['iptables', '-D', chain, String(picked + 1)];
  return ['iptables', '-R', chain, String(picked + 1), ...fresh];
}
