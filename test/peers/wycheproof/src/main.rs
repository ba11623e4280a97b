//! Prints Wycheproof's vectors of AES-GCM that have a key, a nonce and a tag as TLS 1.3 has them, a line each: key, nonce, additional
//! data, plaintext, ciphertext and tag in hexadecimal digits, "-" for none, and the verdict.
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_string();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn main() {
    let set = TestSet::load(TestName::AesGcm).expect("the crate has its vectors");
    for group in set.test_groups {
        if group.nonce_size != 96 || group.tag_size != 128 || group.key_size == 192 {
            continue;
        }
        for test in group.tests {
            let fields = [&test.key, &test.nonce, &test.aad, &test.pt, &test.ct, &test.tag];
            let words: Vec<String> = fields.iter().map(|bytes| hex(bytes)).collect();
            let verdict = match test.result {
                TestResult::Valid => "valid",
                TestResult::Invalid => "invalid",
                TestResult::Acceptable => "acceptable",
            };
            println!("{} {verdict}", words.join(" "));
        }
    }
}
