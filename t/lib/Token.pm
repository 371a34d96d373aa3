package Token;

# Signed tokens (JSON Web Tokens) and the keys for them, as a login makes them:
#
#   my $key = Token::Key->new('ES256');
#   my $token = $key->sign({ sub => '7', exp => time + 60 });
#   ... concert_identity jwt $key->file ...

use strict;
use warnings;

use Digest::SHA  qw( hmac_sha256 );
use File::Temp   ();
use JSON::PP     ();
use MIME::Base64 qw( encode_base64url );

my $Json = JSON::PP->new->utf8->canonical;

# What makes a private key of each algorithm.
my %Generate = (
    RS256 => '-algorithm RSA -pkeyopt rsa_keygen_bits:2048',
    ES256 => '-algorithm EC -pkeyopt ec_paramgen_curve:P-256',
    short => '-algorithm RSA -pkeyopt rsa_keygen_bits:1024',
    other => '-algorithm EC -pkeyopt ec_paramgen_curve:P-384',
);

sub file_of {
    my ($text) = @_;

    my $file = File::Temp->new;
    print $file $text;
    close $file;

    return $file;
}


package Token::Key;

# A key for an algorithm; the secret of HS256 may be given.
sub new {
    my ($class, $alg, $secret) = @_;

    my $self = bless { alg => $alg }, $class;

    if ($alg eq 'HS256') {
        $self->{secret} = $secret // join '', map { chr 33 + rand 90 } 1 .. 32;
        $self->{file} = Token::file_of($self->{secret});

    } else {
        my $generate = $Generate{$alg};
        $self->{private} = Token::file_of(
                               scalar `openssl genpkey $generate 2>/dev/null`);
        $self->{file} = Token::file_of(
                            scalar `openssl pkey -in $self->{private} -pubout`);
    }

    return $self;
}

# The name of the file that concert_identity is to read.
sub file { return "$_[0]{file}" }

# What the file holds.
sub text {
    my ($self) = @_;

    open my $file, '<', $self->file or die $self->file . ": $!";
    local $/;
    return scalar <$file>;
}

# A token of these claims, or of a text instead of them. The members of
# $header come beside or instead of "alg" and "typ".
sub sign {
    my ($self, $claims, $header) = @_;

    my $signed = join '.', map { MIME::Base64::encode_base64url($_) }
        $Json->encode({ alg => $self->{alg}, typ => 'JWT', %{ $header // {} } }),
        ref $claims ? $Json->encode($claims) : $claims;

    return "$signed." . MIME::Base64::encode_base64url($self->signature($signed));
}

sub signature {
    my ($self, $text) = @_;

    return Digest::SHA::hmac_sha256($text, $self->{secret})
        if $self->{alg} eq 'HS256';

    my $file = Token::file_of($text);
    my $signature = `openssl dgst -sha256 -sign $self->{private} $file`;

    return $self->{alg} eq 'RS256' ? $signature : plain($signature);
}

# RFC 7518, 3.4: r and s of 32 bytes each, not DER.
sub plain {
    my ($der) = @_;

    my ($r, $s) = unpack 'x2 x C/a x C/a', $der;

    return join '', map { substr "\0" x 32 . $_, -32 } $r, $s;
}

1;
