// Which events are our own doing, and which concern libvirt.

import type { GuardEvent } from '../events/types.ts';
import { isLibvirts, ownerOfChain } from '../owners/index.ts';
import { SENTINEL } from '../owners/mendwall.ts';
import { PIN_TABLE } from '../plan/pin-text.ts';
import type { PassContext } from '../pass/types.ts';

/**
 * Our own commits are known by the sentinel chain they make; each is heard once, since an old `iptables-save` dump that
 * somebody loads may hold it, too. The first line of ours names the sentinel that goes; when others take it away, too,
 * their commit tells.
 */
export function isOwn({ ownSentinels }: PassContext, event: GuardEvent): boolean {
  if (event.kind === 'touched') {
    // Whose commit it is that touches our own table is known when it is done.
    return event.table === PIN_TABLE || (event.chain !== undefined && SENTINEL.test(event.chain));
  }
  if (event.kind !== 'commit') return false;
  const { changes, native } = event.commit;
  if (changes.some((change) => change.deletesTable && change.table !== PIN_TABLE)) return false;
  const heard = [...changes, ...native]
    .flatMap((change) => change.chainsAdded)
    .filter((chain) => ownSentinels.delete(chain));
  return heard.length > 0;
}

/** Networks may have come or gone: the fast lane reads their definitions again. */
export function concernsLibvirt(event: GuardEvent): boolean {
  if (event.kind === 'touched') return event.chain !== undefined && isLibvirts(ownerOfChain(event.chain));
  return event.kind === 'network' || event.kind === 'hook';
}
