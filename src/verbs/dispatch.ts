// The writing verbs by name, with their arguments checked: what may come through the control socket.

import { accept } from './accept.ts';
import { apply } from './apply.ts';
import { boot } from './boot.ts';
import { init } from './init.ts';
import { mend } from './mend.ts';
import { pause, resume } from './pause.ts';
import { restore } from './restore.ts';
import { confirm, rollback } from './rollback.ts';
import { snapshot } from './snapshot.ts';
import { pruneSnapshots } from './snapshots.ts';
import { readTrial, stillOnTrial } from './trial-state.ts';
import type { World } from './types.ts';

type Args = Readonly<Record<string, unknown>>;

/** Field -> type; `?` marks one that may be left out. */
type Shape = Readonly<Record<string, 'string' | 'boolean' | 'number' | 'strings' | 'string?' | 'number?'>>;

interface Entry {
  readonly shape: Shape;
  run(world: World, args: Args): Promise<object>;
}

/** `shape` is checked before, so the arguments are what the verb takes. */
function entry<T>(shape: Shape, verb: (world: World, args: T) => Promise<object>): Entry {
  return { shape, run: (world, args) => verb(world, args as T) };
}

const VERBS = {
  init: entry({ from: 'strings', place: 'string', force: 'boolean', dryRun: 'boolean' }, init),
  snapshot: entry({ message: 'string', dryRun: 'boolean', yes: 'boolean' }, snapshot),
  prune: entry({ dryRun: 'boolean', keepLast: 'number?', keepDays: 'number?' }, pruneSnapshots),
  boot: entry({ dryRun: 'boolean' }, boot),
  restore: entry({ ref: 'string', dryRun: 'boolean', yes: 'boolean' }, restore),
  accept: entry({ pass: 'string?', dryRun: 'boolean' }, accept),
  mend: entry({ mode: 'string?', dryRun: 'boolean', trigger: 'string', by: 'strings' }, mend),
  pause: entry({ forMs: 'number', dryRun: 'boolean' }, pause),
  resume: entry({ dryRun: 'boolean' }, resume),
  apply: entry(
    {
      files: 'strings',
      all: 'boolean',
      dryRun: 'boolean',
      yes: 'boolean',
      trialMs: 'number',
      preflight: 'boolean',
      session: 'string',
    },
    apply,
  ),
  confirm: entry({ dryRun: 'boolean' }, confirm),
  rollback: entry({ dryRun: 'boolean', due: 'boolean' }, rollback),
} satisfies Readonly<Record<string, Entry>>;

export type VerbName = keyof typeof VERBS;

export function isVerb(name: string): name is VerbName {
  return Object.hasOwn(VERBS, name);
}

/** The first argument that is missing or of another type; undefined when all fit. */
export function wrongArgument(name: VerbName, args: Args): string | undefined {
  const shape: Shape = VERBS[name].shape;
  for (const [field, type] of Object.entries(shape)) if (!fits(args[field], type)) return `${field}: expected ${type}`;
  return undefined;
}

function fits(value: unknown, type: Shape[string]): boolean {
  if (type === 'strings') return Array.isArray(value) && value.every((each) => typeof each === 'string');
  if (type.endsWith('?')) return value === undefined || typeof value === type.slice(0, -1);
  return typeof value === type;
}

/** They change what the user wants; while rules are on trial that is not settled. */
const SETTLED_ONLY: ReadonlySet<VerbName> = new Set(['init', 'snapshot', 'restore', 'accept', 'apply']);

/** Runs a writing verb. The caller holds the pass lock. Its result is what the verb's own file says. */
export async function runVerb(world: World, name: VerbName, args: Args): Promise<object> {
  const trial = SETTLED_ONLY.has(name) && args['dryRun'] !== true ? await readTrial(world.context) : undefined;
  return trial === undefined ? VERBS[name].run(world, args) : stillOnTrial(world.context, trial);
}
