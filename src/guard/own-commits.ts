// Which events are our own doing, and which concern libvirt.

import type { GuardEvent, NativeChange } from '../events/types.ts';
import { isLibvirts, ownerOfChain } from '../owners/index.ts';
import { SENTINEL } from '../owners/mendwall.ts';
import type { PassContext } from '../pass/types.ts';
import { isSavedKey } from '../ruleset/nft/saved.ts';

/**
 * Our own commits are known by the sentinel chain they make; each is heard once, since an old `iptables-save` dump that
 * somebody loads may hold it, too. The first line of ours names the sentinel that goes; when others take it away, too,
 * their commit tells. In native tables the sentinel is gone by the end of the commit (pass/native-mark.ts), so nobody else has it.
 */
export function isOwn({ ownSentinels }: PassContext, event: GuardEvent): boolean {
  if (event.kind === 'touched') return event.chain !== undefined && SENTINEL.test(event.chain);
  if (event.kind !== 'commit') return false;
  const { changes, native } = event.commit;
  if (changes.some((change) => change.deletesTable)) return false;
  if (changes.length === 0 && native.length > 0 && native.every(isUnlock)) return true;
  const heard = [...changes, ...native]
    .flatMap((change) => change.chainsAdded)
    .filter((chain) => ownSentinels.delete(chain));
  return heard.length > 0;
}

/** In a table of ebtables' a lock goes by a commit of its own; whoever takes it away, nothing else is gone. */
function isUnlock({ table, chainsDeleted, ...rest }: NativeChange): boolean {
  const isElse =
    rest.deletesTable || rest.addsTable || rest.rulesAdded + rest.rulesDeleted + rest.chainsAdded.length > 0;
  return isSavedKey(table) && !isElse && chainsDeleted.length > 0 && chainsDeleted.every((name) => SENTINEL.test(name));
}

/** Networks may have come or gone: the fast lane reads their definitions again. */
export function concernsLibvirt(event: GuardEvent): boolean {
  if (event.kind === 'touched') return event.chain !== undefined && isLibvirts(ownerOfChain(event.chain));
  return event.kind === 'network' || event.kind === 'hook';
}
