package kernel

import "testing"

// TestArguments: only kernels before 6.1 are told that the processor has no threads.
func TestArguments(t *testing.T) {
	t.Parallel()
	const distro = "console=hvc0 quiet cryptomgr.notests"
	for release, more := range map[string]string{
		"5.10.0-46-cloud-amd64": noThreads, "6.0.0": noThreads, "4.19.0-27-amd64": noThreads,
		"6.1.0-57-cloud-amd64": "", "6.12.118+deb13-cloud-amd64": "", "7.3.1": "", "": "", "mine": "",
	} {
		if got, want := Arguments(release, true), distro+more; got != want {
			t.Errorf("%q as a distribution boots it: %q, want %q", release, got, want)
		}
		if got, want := Arguments(release, false), distro+" nokaslr mitigations=off"+more; got != want {
			t.Errorf("%q plain: %q, want %q", release, got, want)
		}
	}
}
