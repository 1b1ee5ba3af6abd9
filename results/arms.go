package results

// ArmInfo holds the traits of a mechanism that the analysis needs. The manifest records it, so
// that a run can be analysed by a program that does not have the mechanism.
type ArmInfo struct {
	// PageTrap: every event of the mechanism is an EPT violation on a trapped
	// page (claim C2).
	PageTrap bool `json:"page_trap,omitempty"`
	// View is where the trap is set: host for the view that all vCPUs have in common,
	// altp2m for a view of its own. Empty means that no trap lies in guest memory.
	View string `json:"view,omitempty"`
	// TwinOf names the mechanism that traps the same in the host view (claim C3). Empty
	// means that there is none.
	TwinOf string `json:"twin_of,omitempty"`
}

// Views that a trap can be set in.
const (
	HostView   = "host"
	Altp2mView = "altp2m"
)

// Arms are the mechanisms of a run by name.
type Arms map[string]ArmInfo
