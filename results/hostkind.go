package results

// Kinds of hosts: the values of Trial.Host and HostInfo.Kind.
const (
	Lab = "lab" // the emulated host, whose time is virtual
	Xen = "xen" // a Xen host of real hardware
)

// HostKinds returns all kinds of hosts. The first one is the default.
func HostKinds() []string { return []string{Lab, Xen} }

// HostTitle names a kind of host for readers, with what its clock measures.
func HostTitle(kind string) string {
	switch kind {
	case Lab:
		return "lab" + HostNote(Lab)
	case Xen:
		return "xen (this machine's hardware)"
	}
	return kind
}

// HostNote returns the remark that numbers of the lab need, behind the name of the
// host, and "" for other hosts.
func HostNote(kind string) string {
	if kind == Lab {
		return " (emulated; virtual time)"
	}
	return ""
}
