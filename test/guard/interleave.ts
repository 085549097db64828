// Others act at random while the guard works: a tape of numbers says who runs its next command at each point where somebody may
// come in between: before and after every command of ours, between the read and the commit of every transaction of ours, and
// whenever time goes by. The same tape gives the same run.

import { type Act, adminSteps } from './admin.ts';
import type { Room } from './machine-room.ts';
import type { Steps } from './fake-libvirt.ts';
import type { BridgeNetwork } from '../generate/libvirt-rules.ts';
import { liveWord, type Word } from './user-word.ts';

export type LibvirtAct =
  | { readonly kind: 'start' | 'destroy'; readonly network: number }
  | { readonly kind: 'sighup' | 'reloaded' | 'restart' };

export interface Play {
  readonly networks: readonly BridgeNetwork[];
  readonly libvirt: readonly LibvirtAct[];
  readonly admin: readonly Act[];
  /** How often the guard is killed. */
  readonly kills: number;
  readonly tape: readonly number[];
}

export interface Played {
  /** The user's word: what stood last before a wipe, else what stands after the last thing the admin did. */
  readonly word: Word;
  /** What happened, one line each, for a failure's report. */
  readonly story: readonly string[];
}

/** Long enough for every pause and every request to end; a contest for the order needs its window, too. */
const QUIET_MS = 60_000;
const PAUSES_MS = [0, 1, 5, 20, 200, 350, 700];

/** Runs the play to its end, then waits until all is quiet for long. */
export async function play(room: Room, { networks, libvirt, admin, kills, tape }: Play): Promise<Played> {
  const { machine } = room;
  const story: string[] = [];
  let at = 0;
  const draw = (sides: number): number => (tape[at++] ?? 0) % sides;
  let word = liveWord(machine.kernel);
  const tell = (text: string): void => void story.push(`${machine.clock.monoMs()} ms: ${text}`);

  // --- the two actors
  const libvirtTodo: { name: string; steps: () => Steps }[] = libvirt.map((act) => ({
    name: JSON.stringify(act),
    steps: () => libvirtSteps(room, networks, act),
  }));
  room.onAsk(() => libvirtTodo.push({ name: 'asked to rebuild', steps: () => room.libvirt.reloaded() }));
  const adminTodo = [...admin];
  let libvirtNow: Steps | undefined;
  let adminNow: Steps | undefined;
  let adminIsEditing = false;
  /** When a wipe, a load or a script last did something that the guard may not have judged yet. */
  let unsettledSinceMs: number | undefined;

  function libvirtStep(): boolean {
    if (libvirtNow === undefined) {
      const next = libvirtTodo.shift();
      if (next === undefined) return false;
      tell(`libvirt: ${next.name}`);
      libvirtNow = next.steps();
    }
    if (libvirtNow.next().done === true) libvirtNow = undefined;
    return true;
  }

  function adminStep(): boolean {
    if (adminNow === undefined) {
      const next = adminTodo[0];
      if (next === undefined || !mayBegin(next)) return false;
      adminTodo.shift();
      tell(`admin: ${JSON.stringify(next)}`);
      adminNow = adminSteps(room, next, () => (word = liveWord(machine.kernel)));
      adminIsEditing = next.kind === 'edit';
    }
    if (adminNow.next().done === true) adminNow = undefined;
    if (!adminIsEditing) unsettledSinceMs = machine.clock.monoMs();
    return true;
  }

  /** Single edits come at any time, but what a wipe or a load meant is for the guard to find out before the next act. */
  function mayBegin(act: Act): boolean {
    const guard = room.guard();
    if (guard === undefined) return false;
    if (act.kind === 'edit' && unsettledSinceMs === undefined) return true;
    const { burst, running, timers, passes } = guard.status();
    const open = passes === 0 || burst || running || timers.includes('settle') || timers.includes('retry');
    if (open || machine.clock.monoMs() - (unsettledSinceMs ?? 0) < 200) return false;
    unsettledSinceMs = undefined;
    return true;
  }

  /** Somebody comes in between. */
  function between(): void {
    if (draw(4) !== 1) return;
    for (let count = draw(4); count >= 0; count--)
      if (draw(4) === 0) adminStep();
      else libvirtStep();
  }

  // --- the stage
  let killsLeft = kills;
  function maybeKill(): void {
    if (killsLeft === 0 || room.guard() === undefined || draw(12) !== 1) return;
    killsLeft--;
    tell('guard killed');
    room.kill();
  }
  machine.beforeExec(() => {
    between();
    maybeKill();
  });
  machine.afterExec(() => {
    maybeKill();
    between();
  });
  machine.kernel.inEveryWindow(between);

  const isOver = (): boolean =>
    libvirtTodo.length === 0 && adminTodo.length === 0 && libvirtNow === undefined && adminNow === undefined;
  for (let turn = 0; turn < 3000 && !isOver(); turn++) {
    if (room.guard() === undefined && draw(3) === 0) {
      tell('guard started');
      await room.start();
    }
    const admins = draw(3) === 1;
    const acted = admins ? adminStep() || libvirtStep() : libvirtStep() || adminStep();
    // libvirt and scripts never stop for as long as what counts as quiet (measured: 230 ms at most within a rewrite).
    const busy = libvirtNow !== undefined || adminNow !== undefined;
    await room.idle(acted ? (PAUSES_MS[draw(busy ? PAUSES_MS.length - 2 : PAUSES_MS.length)] as number) : 50);
  }
  machine.beforeExec(undefined);
  machine.afterExec(undefined);
  machine.kernel.inEveryWindow(undefined);
  if (room.guard() === undefined) await room.start();
  for (let quietMs = 0; quietMs < QUIET_MS; quietMs += 5000) {
    await room.idle(5000);
    while (libvirtStep()) {
      await room.idle(5);
      quietMs = 0;
    }
  }
  if (adminTodo.length > 0)
    throw new Error(`the guard never came to rest: ${adminTodo.length} acts are left\n${story.join('\n')}`);
  return { word, story };
}

function libvirtSteps({ libvirt }: Room, networks: readonly BridgeNetwork[], act: LibvirtAct): Steps {
  switch (act.kind) {
    case 'start':
    case 'destroy': {
      const network = networks[act.network % networks.length] as BridgeNetwork;
      return act.kind === 'start' ? libvirt.netStart(network) : libvirt.netDestroy(network);
    }
    case 'sighup':
      return libvirt.sighup();
    case 'reloaded':
    case 'restart':
      return libvirt.reloaded();
  }
}
