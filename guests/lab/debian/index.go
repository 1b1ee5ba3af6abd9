package debian

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
)

// stanza is one paragraph of a Debian control file, with the fields of indexFields
// only. Continuation lines are left out.
type stanza map[string]string

// indexFields are the fields of a Packages index that are kept. The index has 57 MB;
// most of it is in other fields.
var indexFields = map[string]bool{
	"Package": true, "Version": true, "Architecture": true, "Multi-Arch": true, "Provides": true,
	"Filename": true, "Size": true, "SHA256": true, "Installed-Size": true,
}

// readStanzas calls yield for each paragraph of a control file. Debian policy 5.1: a
// line is "Field: value", a continuation line begins with a blank, an empty line
// separates paragraphs. It stops at the first error.
func readStanzas(r io.Reader, yield func(stanza) error) error {
	br := bufio.NewReaderSize(r, 1<<16)
	cur := stanza{}
	flush := func() error {
		if len(cur) == 0 {
			return nil
		}
		s := cur
		cur = stanza{}
		return yield(s)
	}
	for line := 1; ; line++ {
		raw, isPrefix, err := br.ReadLine()
		if err == io.EOF {
			return flush()
		}
		if err != nil {
			return err
		}
		// A line longer than the buffer, such as a description: its beginning has the
		// field's name, and no field that is kept is that long.
		for more := isPrefix; more; {
			if _, more, err = br.ReadLine(); err != nil {
				break
			}
		}
		switch {
		case len(bytes.TrimSpace(raw)) == 0:
			if err := flush(); err != nil {
				return err
			}
			continue
		case raw[0] == ' ' || raw[0] == '\t' || raw[0] == '#':
			continue
		}
		name, value, ok := bytes.Cut(raw, []byte(":"))
		if !ok {
			return fmt.Errorf("line %d has no field name", line)
		}
		if !indexFields[string(name)] {
			continue
		}
		if isPrefix {
			return fmt.Errorf("line %d: field %s is too long", line, name)
		}
		cur[string(name)] = string(bytes.TrimSpace(value))
	}
}

// pkg returns the Package of a stanza of the suite's index, without File.
func (s stanza) pkg(suite string) (Package, error) {
	p := Package{
		Name: s["Package"], Version: s["Version"], Arch: s["Architecture"], Suite: suite,
		Path: s["Filename"], SHA256: s["SHA256"],
	}
	if p.Name == "" || p.Version == "" || p.Arch == "" || p.Path == "" {
		return p, fmt.Errorf("index entry %q lacks a package, version, architecture or file name", p.Name)
	}
	if !sha256Hex.MatchString(p.SHA256) {
		return p, fmt.Errorf("index entry %s has the SHA-256 %q", p.Name, p.SHA256)
	}
	var err error
	if p.SizeBytes, err = strconv.ParseInt(s["Size"], 10, 64); err != nil || p.SizeBytes <= 0 {
		return p, fmt.Errorf("index entry %s has the size %q", p.Name, s["Size"])
	}
	if v := s["Installed-Size"]; v != "" {
		if p.InstalledKiB, err = strconv.ParseInt(v, 10, 64); err != nil || p.InstalledKiB < 0 {
			return p, fmt.Errorf("index entry %s has the installed size %q", p.Name, v)
		}
	}
	return p, nil
}

// planned is one line of apt-get --print-uris.
type planned struct {
	uri  string
	file string
}

// parsePlan parses the output of apt-get --print-uris. A line 'URI' FILE SIZE [HASH]
// is a file to be fetched; other lines are ignored.
func parsePlan(out []byte) ([]planned, error) {
	var plan []planned
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "'") {
			continue
		}
		uri, rest, ok := strings.Cut(line[1:], "' ")
		fields := strings.Fields(rest)
		if !ok || len(fields) < 2 {
			return nil, fmt.Errorf("apt's plan has the line %q", strings.TrimSpace(line))
		}
		if !debFile.MatchString(fields[0]) {
			return nil, fmt.Errorf("apt's plan has the file name %q", fields[0])
		}
		plan = append(plan, planned{uri: uri, file: fields[0]})
	}
	return plan, nil
}

// pathBelow returns the unescaped path of uri below the URL base. ok is false if uri
// is not below base.
func pathBelow(uri, base string) (string, bool) {
	rest, ok := strings.CutPrefix(uri, strings.TrimSuffix(base, "/")+"/")
	if !ok {
		return "", false
	}
	p, err := url.PathUnescape(rest)
	return p, err == nil
}
