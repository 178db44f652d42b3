"""What tests share: servers, recordings, the KQL analyser."""
