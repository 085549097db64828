// Where libvirt's rules belong among the user's when nothing else is known: directly above the first catch-all, so that
// both the user's port forwards (above it) and the guests (who would hit it) work. Pure.

import { words } from '../ruleset/iptables/lex.ts';

const ENDS = new Set(['DROP', 'REJECT', 'ACCEPT', 'RETURN']);
const LOGS = new Set(['LOG', 'NFLOG']);
/** Options that select no packet. */
const NEUTRAL = new Set(['--comment', '--reject-with']);

/** Place (number of user rules above) of the first catch-all, with the LOG/NFLOG rules directly before it; or the end. */
export function catchAllPlace(texts: readonly string[], isGuestBridge: (name: string) => boolean): number {
  let at = texts.findIndex((text) => isCatchAll(text, isGuestBridge));
  if (at === -1) return texts.length;
  while (at > 0 && LOGS.has(actionOf(texts[at - 1] as string)?.target ?? '')) at--;
  return at;
}

/**
 * A rule that ends the chain for most packets: DROP, REJECT, ACCEPT, RETURN or a goto whose only matches are interfaces
 * other than libvirt's bridges. A comment is no match.
 */
export function isCatchAll(text: string, isGuestBridge: (name: string) => boolean): boolean {
  // A quick no for the usual rule, which selects by address, protocol or state.
  if (/ (?:-[sdp]|-m (?!comment)) ?/.test(text) && !text.includes('"')) return false;
  const action = actionOf(text);
  if (action === undefined || !(action.goto || ENDS.has(action.target))) return false;
  return action.interfaces.every((name) => !isGuestBridge(name)) && !action.selective;
}

interface Action {
  readonly target: string;
  readonly goto: boolean;
  readonly interfaces: readonly string[];
  /** True when a match other than interfaces stands in the rule. */
  readonly selective: boolean;
}

function actionOf(text: string): Action | undefined {
  const list = words(text).slice(2);
  const interfaces: string[] = [];
  let target: string | undefined;
  let goto = false;
  let selective = false;
  for (let i = 0; i < list.length; i++) {
    const word = list[i] as string;
    const value = list[i + 1] ?? '';
    if (word === '!') continue;
    else if (word === '-i' || word === '-o') interfaces.push(value);
    else if (word === '-j' || word === '-g') [target, goto] = [value, word === '-g'];
    else if (word === '-m' ? value !== 'comment' : target === undefined && !NEUTRAL.has(word)) selective = true;
    i++;
  }
  return target === undefined ? undefined : { target, goto, interfaces, selective };
}
