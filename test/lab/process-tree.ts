// Signals for programs behind nsenter, which forks: the program is nsenter's child.

import { readFileSync } from 'node:fs';

/** Children of a process, from /proc; empty when it has ended. */
export function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return text.split(' ').filter(Boolean).map(Number);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** Kills a process and all its descendants, the deepest first. */
export function killTree(pid: number | undefined): void {
  if (pid === undefined) return;
  for (const child of childrenOf(pid)) killTree(child);
  sendSignal(pid, 'SIGKILL');
}

/** Sends a signal to the program behind `nsenter`; nothing when it has ended. */
export function signalProgram(nsenterPid: number | undefined, name: NodeJS.Signals): void {
  if (nsenterPid === undefined) return;
  for (const child of childrenOf(nsenterPid)) sendSignal(child, name);
}

function sendSignal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

/** ENOENT from /proc and ESRCH from kill both say that the process ended meanwhile. */
function isGone(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ESRCH';
}
