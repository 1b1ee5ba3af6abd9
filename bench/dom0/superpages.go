package dom0

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hangbench/guests/lab/place"
	"hangbench/scenarios/suites"
)

// Superpages reports whether a Xen booted with that command line gives guests large
// pages. It does by default. As in Xen the last option counts.
func Superpages(commandLine string) bool {
	on := true
	for word := range strings.FieldsSeq(commandLine) {
		name, value, given := strings.Cut(word, "=")
		switch {
		case name == "no-hap_2mb" && !given:
			on = false
		case name == "hap_2mb":
			on = !slices.Contains([]string{"0", "no", "off", "false", "disable"}, value)
		}
	}
	return on
}

// CheckGuest returns the reason why such a guest cannot run here, or nil. A guest
// without superpages may run on a Xen that gives them; doctor warns of that.
func (h *Host) CheckGuest(spec suites.Guest) error {
	if spec.Programs != "" && spec.Type != suites.HVM { // whose disc has the initramfs
		if _, err := os.Stat(filepath.Join(h.Guests, place.Ramdisk(spec.Programs))); err != nil {
			return fmt.Errorf("the guest is to have %s, and the folder of guest kernels has no initramfs with it (%w): "+
				"take one that \"hangbench lab build --programs %s\" makes", spec.Programs, err, spec.Programs)
		}
	}
	if spec.Type == suites.HVM {
		disc := filepath.Join(h.Guests, spec.Kernel, place.Disc(spec.Programs))
		if _, err := os.Stat(disc); err != nil {
			return fmt.Errorf("the guest is to be of type hvm, and the folder of its kernel has no disc to boot from (%w): "+
				"take one that \"hangbench lab build --hvm\" makes, or remove type: hvm", err)
		}
	}
	if !spec.Superpages && spec.XenRelease == "" {
		return nil
	}
	v, err := h.Xen.Version()
	if err != nil {
		return fmt.Errorf("see whether this Xen can have the guest: %w", err)
	}
	if is := v.Release(); spec.XenRelease != "" && spec.XenRelease != is {
		return fmt.Errorf("the guest is to run on Xen %s, and this host has Xen %s: remove xen: from the suite's guests, "+
			"or set it to \"%s\"", spec.XenRelease, is, is)
	}
	if spec.Superpages && !Superpages(v.CommandLine) {
		return fmt.Errorf("the guest is to have superpages and Xen was booted without: remove hap_2mb=0 and hap_1gb=0 from "+
			"its command line (%s)", v.CommandLine)
	}
	return nil
}
