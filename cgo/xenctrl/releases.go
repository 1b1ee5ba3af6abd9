package xenctrl

// Facts are the facts in which releases of Xen differ and that a monitor meets at run
// time. They were read in Xen's source at the last tag of each release. What differs in
// the headers is in compat.h.
//
// The ring, the records of a trace, the types of page frames and the order of the checks
// of an EPT violation are the same in 4.17.7, 4.20.4, 4.21.2 and 4.22.0, except for writes
// to read-only MMIO, which only a guest with a passed-through device has. No others were
// compared. What a monitor that is killed leaves behind differs only in FastStepNeedsEvents.
// The binding compiles against the headers of each release from 4.17 to 4.22.
type Facts struct {
	// LockedReads: a question about a vCPU or a domain, and a change of a monitor, takes the
	// lock of all domctls. It waits while another guest is made or destroyed (do_domctl).
	LockedReads bool
	// LosesAccess: when a superpage of the guest is split, a view whose default access is
	// restricted gets the pieces with the rights of the host view
	// (altp2m_get_effective_entry).
	LosesAccess bool
	// RestoresLarge: a guest that is restored or migrated gets superpages.
	RestoresLarge bool
	// CopiesHostAccess: a page that is copied into a view at its first access gets the
	// permission of the host view. Later releases give it the view's default
	// (p2m_altp2m_get_or_propagate).
	CopiesHostAccess bool
	// FastStepNeedsEvents: a fast single step ends only while single-step events are
	// enabled. The vCPU steps on without (hvm_monitor_debug).
	FastStepNeedsEvents bool
	// Events and Views are the options of Xen's build without which there are no vm_events
	// and no altp2m views. Empty: every build of the release has them.
	Events, Views string
}

// releases are the releases of Xen 4 at which a fact changes, with the facts from then on.
func releases() []struct {
	minor int
	facts Facts
} {
	return []struct {
		minor int
		facts Facts
	}{
		{17, Facts{LockedReads: true, LosesAccess: true, CopiesHostAccess: true, FastStepNeedsEvents: true,
			Events: "CONFIG_MEM_ACCESS"}},
		{19, Facts{LockedReads: true, LosesAccess: true, Events: "CONFIG_MEM_ACCESS"}},
		{20, Facts{LockedReads: true, LosesAccess: true, Events: "CONFIG_MEM_ACCESS", Views: "CONFIG_ALTP2M"}},
		{21, Facts{LockedReads: true, LosesAccess: true, RestoresLarge: true,
			Events: "CONFIG_VM_EVENT", Views: "CONFIG_ALTP2M"}},
		{22, Facts{RestoresLarge: true, Events: "CONFIG_VM_EVENT", Views: "CONFIG_ALTP2M"}},
	}
}

// Facts returns the facts of the release. A release that is older or newer than those of
// the table counts as the first or the last.
func (v Version) Facts() Facts {
	all := releases()
	found := all[0].facts
	for _, r := range all[1:] {
		if v.Major > 4 || v.Major == 4 && v.Minor >= r.minor {
			found = r.facts
		}
	}
	return found
}
