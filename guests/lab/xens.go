package lab

import (
	"fmt"
	"slices"
	"strings"

	"hangbench/guests/lab/debian"
)

// Xens returns the releases of Xen that a lab can have, as Debian names them. The first
// is the default. They are a table in package debian.
func Xens() []string {
	var names []string
	for _, p := range debian.Platforms() {
		names = append(names, string(p.Xen))
	}
	return names
}

// VariantXen returns the Variant.Xen of guests on the named release: the name, and "" for
// that of the ordinary lab.
func VariantXen(name string) string {
	if name == Xens()[0] {
		return ""
	}
	return name
}

// platform returns the platform of the lab's Xen.
func (o *Options) platform() (debian.Platform, error) {
	if o.GivenXen != nil {
		return o.GivenXen.platform, nil
	}
	return o.Variant.platform()
}

// platform returns the platform of the Xen that the variant names.
func (v Variant) platform() (debian.Platform, error) {
	if v.Xen == "" {
		return debian.Lab(), nil
	}
	all := debian.Platforms()
	i := slices.IndexFunc(all, func(p debian.Platform) bool { return string(p.Xen) == v.Xen })
	if i < 0 {
		return debian.Platform{}, fmt.Errorf("there is no Xen %q; there are %s", v.Xen, strings.Join(Xens(), ", "))
	}
	return all[i], nil
}
