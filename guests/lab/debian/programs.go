package debian

// StressWanted returns the packages of guests with measured work: stress-ng, and the
// program that makes a file system on the guest's disk.
func StressWanted() []string { return []string{"stress-ng", "e2fsprogs"} }

// StressExcluded returns the dependencies of StressWanted that are left out: libraries
// that are only opened at run time, by stressors that the guests do not run. Neither
// the two programs nor their libraries are linked with one of them.
func StressExcluded() []Exclusion {
	const (
		draws = "drivers of graphics cards; the guests have none"
		shows = "connections to a display; the guests have none"
	)
	return []Exclusion{
		{"mesa-libgallium", draws},
		{"libegl-mesa0", draws},
		{"libdrm-common", draws},
		{"libx11-6", shows},
		{"libwayland-server0", shows},
		{"openssl-provider-legacy", "opened by programs that want outdated ciphers"},
		{"logsave", "only scripts that run at boot use it"},
	}
}
