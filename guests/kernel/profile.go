package kernel

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

// A Profile is the part of a Kernel that a monitor needs, in a form that is fast to
// load. Field, SizeOf and EnumValue return the same as those of [Types], for the names
// with which the profile was made.
type Profile struct {
	Release string
	Banner  string
	Symbols *Symbols

	fields map[string]Field
	enums  map[string]int64
}

// Profile makes a profile with all symbols and the given fields:
//
//	task_struct.comm       a field, with any path Types.Field takes
//	task_struct            the size of a type
//	enum NR_FREE_PAGES     a constant, or with its enumeration: enum zone_stat_item.NR_FREE_PAGES
//
// A name that ends in "?" may be missing in this kernel. The error lists all others
// that are missing.
func (k *Kernel) Profile(fields []string) (*Profile, error) {
	p := &Profile{
		Release: k.Release, Banner: k.Banner, Symbols: k.Symbols,
		fields: make(map[string]Field), enums: make(map[string]int64),
	}
	var missing []error
	for _, key := range fields {
		key, optional := strings.CutSuffix(key, "?")
		if err := p.add(k.Types, key); err != nil && !(optional && errors.Is(err, ErrNotFound)) {
			missing = append(missing, err)
		}
	}
	if err := errors.Join(missing...); err != nil {
		return nil, fmt.Errorf("profile Linux %s: %w", k.Release, err)
	}
	return p, nil
}

func (p *Profile) add(types *Types, key string) error {
	if name, ok := strings.CutPrefix(key, "enum "); ok {
		v, err := types.EnumValue(name)
		if err == nil {
			p.enums[name] = v
		}
		return err
	}
	structName, path, ok := strings.Cut(key, ".")
	if !ok {
		size, err := types.SizeOf(structName)
		if err == nil {
			p.fields[key] = Field{Size: size}
		}
		return err
	}
	f, err := types.Field(structName, path)
	if err == nil {
		p.fields[key] = f
	}
	return err
}

// Field returns the place of a field; see [Types.Field].
func (p *Profile) Field(structName, path string) (Field, error) {
	return lookup(p, p.fields, structName+"."+path)
}

// SizeOf returns the size in bytes of a type; see [Types.SizeOf].
func (p *Profile) SizeOf(name string) (uint32, error) {
	f, err := lookup(p, p.fields, name)
	return f.Size, err
}

// EnumValue returns the value of a constant; see [Types.EnumValue].
func (p *Profile) EnumValue(name string) (int64, error) {
	return lookup(p, p.enums, name)
}

func lookup[V any](p *Profile, m map[string]V, key string) (V, error) {
	v, ok := m[key]
	if !ok {
		return v, fmt.Errorf("%s in the profile of Linux %s: %w", key, p.Release, ErrNotFound)
	}
	return v, nil
}

// A profile file has a header, the tables of [Symbols] in their own form, and the rest
// as JSON. Numbers are little-endian.
//
//	 0  magic, 8 bytes
//	 8  version
//	12  CRC-32C of everything from 16 on
//	16  number of symbols
//	20  length of all names in bytes
//	24  length of the JSON text in bytes
//	28  zero
//	32  addresses, 8 bytes each, then ends, byName (4 bytes each), types, names, JSON
const (
	profileMagic   = "HBKPROF\n"
	profileVersion = 1
	profileHeader  = 32
)

// profileRest is the part of a profile in JSON. It is small, so that a binary form
// would save nothing.
type profileRest struct {
	Release string           `json:"release"`
	Banner  string           `json:"banner"`
	Fields  map[string]Field `json:"fields"`
	Enums   map[string]int64 `json:"enums"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// WriteTo writes the profile in the form that [ReadProfile] reads. Equal profiles give
// equal bytes.
func (p *Profile) WriteTo(w io.Writer) (int64, error) {
	rest, err := json.Marshal(profileRest{p.Release, p.Banner, p.fields, p.enums})
	if err != nil {
		return 0, fmt.Errorf("write profile: %w", err)
	}
	s, le := p.Symbols, binary.LittleEndian
	b := make([]byte, profileHeader, profileHeader+17*s.Len()+len(s.names)+len(rest))
	copy(b, profileMagic)
	le.PutUint32(b[8:], profileVersion)
	le.PutUint32(b[16:], uint32(s.Len()))
	le.PutUint32(b[20:], uint32(len(s.names)))
	le.PutUint32(b[24:], uint32(len(rest)))
	for _, table := range [][]byte{s.addrs, s.ends, s.byName, s.types} {
		b = append(b, table...)
	}
	b = append(b, s.names...)
	b = append(b, rest...)
	le.PutUint32(b[12:], crc32.Checksum(b[16:], castagnoli))
	n, err := w.Write(b)
	if err != nil {
		return int64(n), fmt.Errorf("write profile: %w", err)
	}
	return int64(n), nil
}

// ReadProfile reads a profile. The profile keeps b, which must not be changed
// afterwards.
func ReadProfile(b []byte) (*Profile, error) {
	le := binary.LittleEndian
	if len(b) < profileHeader || string(b[:8]) != profileMagic {
		return nil, errors.New("read profile: not a kernel profile")
	}
	if v := le.Uint32(b[8:]); v != profileVersion {
		return nil, fmt.Errorf("read profile: version %d, this program reads version %d; make the profile again",
			v, profileVersion)
	}
	n, names, rest := uint64(le.Uint32(b[16:])), uint64(le.Uint32(b[20:])), uint64(le.Uint32(b[24:]))
	if n > maxSymbols || profileHeader+17*n+names+rest != uint64(len(b)) {
		return nil, fmt.Errorf("read profile: its parts do not add up to its %d bytes; it is cut off", len(b))
	}
	if crc32.Checksum(b[16:], castagnoli) != le.Uint32(b[12:]) {
		return nil, errors.New("read profile: wrong checksum; it is damaged")
	}
	body := b[profileHeader:]
	take := func(n uint64) []byte {
		part := body[:n:n]
		body = body[n:]
		return part
	}
	s := &Symbols{addrs: take(8 * n), ends: take(4 * n), byName: take(4 * n), types: take(n)}
	s.names = string(take(names))
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	var r profileRest
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("read profile: fields: %w", err)
	}
	return &Profile{Release: r.Release, Banner: r.Banner, Symbols: s.finish(), fields: r.Fields, enums: r.Enums}, nil
}

// check returns an error unless tables from a file can be used without further checks.
func (s *Symbols) check() error {
	le := binary.LittleEndian
	var addr uint64
	var end uint32
	for i := range s.types {
		a, e, o := le.Uint64(s.addrs[8*i:]), le.Uint32(s.ends[4*i:]), le.Uint32(s.byName[4*i:])
		if a < addr || e < end || uint64(o) >= uint64(len(s.types)) {
			return fmt.Errorf("symbol %d is out of order", i)
		}
		addr, end = a, e
	}
	if uint64(end) != uint64(len(s.names)) {
		return errors.New("symbols and names do not match")
	}
	return nil
}
