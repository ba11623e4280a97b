//! zoo-reqwest HOST PORT COUNT h1|h2c: prints each answer on a line.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, count, version] = &words[..] else {
        return Err("usage: zoo-reqwest HOST PORT COUNT h1|h2c".into());
    };
    let builder = reqwest::Client::builder().no_proxy();
    let client = if version == "h2c" { builder.http2_prior_knowledge() } else { builder.http1_only() }.build()?;
    for call in 0..count.parse()? {
        let answer = client.post(format!("http://{host}:{port}/call/{call}")).body(format!("body {call}")).send().await?;
        println!("{} {:?} {}", answer.status().as_u16(), answer.version(), answer.text().await?);
    }
    Ok(())
}
