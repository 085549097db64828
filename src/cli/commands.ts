// The commands by name. A module is loaded only when its command is run, so that every command starts fast.

import type { Command } from 'commander';
import type { Session } from './session.ts';

/** Adds a command's arguments, options, help and action. An action resolves to the exit code. */
export type Register = (command: Command, run: Runner) => void;

/** Wraps an action: opens the session from the options given and keeps the exit code. */
export type Runner = <A extends readonly unknown[]>(
  action: (session: Session, ...args: A) => Promise<number>,
) => (...args: unknown[]) => Promise<void>;

export interface CommandEntry {
  readonly name: string;
  /** Arguments as the short help shows them. */
  readonly usage: string;
  readonly summary: string;
  load(): Promise<Register>;
}

export const COMMANDS: readonly CommandEntry[] = [
  {
    name: 'init',
    usage: '[--from FILE...]',
    summary: 'take the first snapshot; changes no live rule',
    load: async () => (await import('./init.ts')).register,
  },
  {
    name: 'status',
    usage: '',
    summary: 'mode, engines, drift, event sources, on one screen',
    load: async () => (await import('./status.ts')).register,
  },
  {
    name: 'diff',
    usage: '[A [B]]',
    summary: 'your rules, snapshot against live',
    load: async () => (await import('./diff.ts')).register,
  },
  {
    name: 'snapshot',
    usage: '[-m TEXT]',
    summary: 'adopt the live rules; list, show, prune',
    load: async () => (await import('./snapshot.ts')).register,
  },
  {
    name: 'restore',
    usage: 'ID',
    summary: 'put the rules of a snapshot back',
    load: async () => (await import('./restore.ts')).register,
  },
  {
    name: 'mend',
    usage: '[--dry-run]',
    summary: 'one pass now: put right what drifted',
    load: async () => (await import('./mend.ts')).register,
  },
  { name: 'run', usage: '[--mode MODE]', summary: 'the daemon', load: async () => (await import('./run.ts')).register },
  {
    name: 'log',
    usage: '[-n N] [-f]',
    summary: 'who changed what, and what was done about it',
    load: async () => (await import('./log.ts')).register,
  },
  {
    name: 'accept',
    usage: '[PASS]',
    summary: 'what was undone, or loaded, was meant',
    load: async () => (await import('./accept.ts')).register,
  },
  {
    name: 'apply',
    usage: '[FILE...]',
    summary: 'rule files become the live rules, on trial until confirmed',
    load: async () => (await import('./apply.ts')).register,
  },
  {
    name: 'confirm',
    usage: '',
    summary: 'keep what is on trial',
    load: async () => (await import('./rollback.ts')).registerConfirm,
  },
  {
    name: 'rollback',
    usage: '',
    summary: 'take back what is on trial',
    load: async () => (await import('./rollback.ts')).registerRollback,
  },
  {
    name: 'edit',
    usage: '[NAME]',
    summary: 'change a rule file, check it, apply it',
    load: async () => (await import('./edit.ts')).register,
  },
  {
    name: 'pause',
    usage: '[--for 30m]',
    summary: 'write nothing for a while',
    load: async () => (await import('./pause.ts')).registerPause,
  },
  {
    name: 'resume',
    usage: '',
    summary: 'end the pause',
    load: async () => (await import('./pause.ts')).registerResume,
  },
  {
    name: 'explain',
    usage: 'PACKET',
    summary: "a packet's verdict, and whose rule decides it",
    load: async () => (await import('./explain.ts')).register,
  },
  {
    name: 'doctor',
    usage: '',
    summary: 'what is wrong here, with the line to paste',
    load: async () => (await import('./doctor.ts')).register,
  },
  {
    name: 'check',
    usage: '[FILE...]',
    summary: 'are your rule files right?',
    load: async () => (await import('./check.ts')).register,
  },
  {
    name: 'import',
    usage: 'FILE',
    summary: 'an old rules file as a rule file of yours',
    load: async () => (await import('./import.ts')).register,
  },
  {
    name: 'hooks',
    usage: 'install|status|remove',
    summary: "libvirt's hooks",
    load: async () => (await import('./hooks.ts')).register,
  },
  {
    name: 'debug',
    usage: 'parse|classify|merge|plan',
    summary: 'each stage as a filter',
    load: async () => (await import('./debug.ts')).register,
  },
  {
    name: 'config',
    usage: 'show',
    summary: 'effective settings and where each comes from',
    load: async () => (await import('./config.ts')).register,
  },
  {
    name: 'completion',
    usage: 'bash|zsh|fish',
    summary: 'a completion script for your shell',
    load: async () => (await import('./completion.ts')).register,
  },
  {
    name: 'version',
    usage: '',
    summary: 'print the version',
    load: async () => (await import('./version-command.ts')).register,
  },
];
