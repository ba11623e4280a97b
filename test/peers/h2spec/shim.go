package main

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"

	"golang.org/x/net/http2/hpack"
)

const (
	preface       = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeader   = 9
	typeHeaders   = 1
	endHeaders    = 0x4
	padded        = 0x8
	priority      = 0x20
	priorityBytes = 5
)

// listen returns a listener on loopback. What connects there is carried to address inside mutual TLS 1.3; with an authority,
// requests are made CONNECTs on the way.
func listen(address string, certificate tls.Certificate, authority string) (net.Listener, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	// h2spec judges HTTP/2, not certificates.
	secure := &tls.Config{
		Certificates: []tls.Certificate{certificate}, InsecureSkipVerify: true,
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(client.(*net.TCPConn), address, secure, authority)
		}
	}()
	return listener, nil
}

func serve(client *net.TCPConn, address string, secure *tls.Config, authority string) {
	defer client.Close()
	server, err := tls.Dial("tcp", address, secure)
	if err != nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Add(1)
	go func() {
		defer both.Done()
		io.Copy(client, server)
		client.CloseWrite()
	}()
	if authority == "" {
		io.Copy(server, client)
	} else {
		(&rewriter{from: client, to: server, authority: authority, decoder: hpack.NewDecoder(4096, nil)}).copy()
	}
	server.CloseWrite()
	both.Wait()
}

// rewriter makes CONNECTs of the requests that h2spec sends as valid ones. All else passes as it is.
type rewriter struct {
	from      io.Reader
	to        io.Writer
	authority string
	decoder   *hpack.Decoder
}

func (r *rewriter) copy() {
	start := make([]byte, len(preface))
	n, err := io.ReadFull(r.from, start)
	r.to.Write(start[:n])
	if err != nil || string(start) != preface {
		io.Copy(r.to, r.from)
		return
	}
	for {
		header := make([]byte, frameHeader)
		n, err := io.ReadFull(r.from, header)
		if err != nil {
			r.to.Write(header[:n])
			return
		}
		length := int64(header[0])<<16 | int64(header[1])<<8 | int64(header[2])
		if header[3] != typeHeaders || header[4]&endHeaders == 0 {
			r.to.Write(header)
			if _, err := io.CopyN(r.to, r.from, length); err != nil {
				return
			}
			continue
		}
		payload := make([]byte, length)
		n, err = io.ReadFull(r.from, payload)
		if err != nil {
			r.to.Write(append(header, payload[:n]...))
			return
		}
		r.to.Write(r.headers(header, payload))
	}
}

// headers returns the frame as it is to be sent.
func (r *rewriter) headers(header, payload []byte) []byte {
	unchanged := append(append([]byte{}, header...), payload...)
	before, block := 0, payload
	if header[4]&padded != 0 {
		if len(block) == 0 || int(block[0]) >= len(block) {
			return unchanged
		}
		block = block[1 : len(block)-int(block[0])]
		before = 1
	}
	if header[4]&priority != 0 {
		if len(block) < priorityBytes {
			return unchanged
		}
		block = block[priorityBytes:]
		before += priorityBytes
	}
	fields, err := r.decoder.DecodeFull(block)
	if err != nil {
		return unchanged
	}
	after := payload[before+len(block):]
	fresh := append(append(append([]byte{}, payload[:before]...), r.encode(fields)...), after...)
	made := append([]byte{}, header...)
	binary.BigEndian.PutUint32(made, uint32(len(fresh))<<8|uint32(header[3]))
	return append(made, fresh...)
}

// encode writes every field as a literal that is never indexed: the server's table stays empty, whatever we leave out.
func (r *rewriter) encode(fields []hpack.HeaderField) []byte {
	if isRequest(fields) {
		connect := []hpack.HeaderField{{Name: ":method", Value: "CONNECT"}, {Name: ":authority", Value: r.authority}}
		for _, field := range fields {
			if !strings.HasPrefix(field.Name, ":") {
				connect = append(connect, field)
			}
		}
		fields = connect
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range fields {
		field.Sensitive = true
		encoder.WriteField(field)
	}
	return block.Bytes()
}

// isRequest tells a whole request (RFC 9113 section 8.3.1), its pseudo-header fields first, from h2spec's malformed ones.
func isRequest(fields []hpack.HeaderField) bool {
	wanted := map[string]int{":method": 1, ":scheme": 1, ":path": 1, ":authority": 1}
	regular := false
	for _, field := range fields {
		if !strings.HasPrefix(field.Name, ":") {
			regular = true
			continue
		}
		if regular || field.Value == "" {
			return false
		}
		wanted[field.Name]--
	}
	for _, left := range wanted {
		if left != 0 {
			return false
		}
	}
	return true
}
