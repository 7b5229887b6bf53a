// What this person may do: the rig's permissions, and a performer's reach as far as some tracks. Pure.
//
// A control says what it needs in `data-needs`: a permission, and " rig" behind it when it is not about
// one track. The rig decides in any case; this only keeps fingers from what it would refuse.

/** `me` is who one is, as the rig has said it; null: nobody yet. */
export function mayDo(me, needs, trackId) {
  const [permission, isAboutRig] = needs.split(" ");
  if (!me?.permissions.includes(permission)) return false;
  if (!me.tracks) return true;
  return isAboutRig ? false : !trackId || me.tracks.includes(trackId);
}

/** Enables what may be done. */
export function allow(element, me, trackId) {
  for (const control of element.querySelectorAll("[data-needs]")) {
    const isAllowed = mayDo(me, control.dataset.needs, trackId);
    // Sliders and what is disabled for other reasons are inside a fieldset, which is disabled instead.
    if (control.disabled === isAllowed) control.disabled = !isAllowed;
  }
}
