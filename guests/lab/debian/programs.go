package debian

// StressWanted returns the packages that go into a guest which is put to work:
// the program, and what makes a file system for it on the guest's disk.
func StressWanted() []string { return []string{"stress-ng", "e2fsprogs"} }

// StressExcluded returns what of StressWanted's closure is left out: libraries
// that others would open at run time, in stressors that the guests do not run.
// None is NEEDED by the two programs, nor by a library that is.
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
