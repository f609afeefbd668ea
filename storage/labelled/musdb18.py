"""The songs of MUSDB18, by name: which of its training songs are for validation is musdb's to say.

musdb itself lists only the 14 that it holds out. To know a song that it does *not* hold out from
one that it says nothing about, all must be known; so what a song is for depends on its name alone.
"""

from __future__ import annotations

import unicodedata

SONGS = """\
A Classic Education - NightOwl
Actions - Devil's Words
Actions - One Minute Smile
Actions - South Of The Water
Aimee Norwich - Child
Al James - Schoolboy Facination
Alexander Ross - Goodbye Bolero
Alexander Ross - Velvet Curtain
AM Contra - Heart Peripheral
Angela Thomas Wade - Milk Cow Blues
Angels In Amplifiers - I'm Alright
ANiMAL - Clinic A
ANiMAL - Easy Tiger
ANiMAL - Rockshow
Arise - Run Run Run
Atlantis Bound - It Was My Fault For Waiting
Auctioneer - Our Future Faces
AvaLuna - Waterduct
Ben Carrigan - We'll Talk About It All Tonight
BigTroubles - Phantom
Bill Chudziak - Children Of No-one
BKS - Bulldozer
BKS - Too Much
Black Bloc - If You Want Success
Bobby Nobody - Stitch Up
Buitraker - Revo X
Carlos Gonzalez - A Place For Us
Celestial Shore - Die For Us
Chris Durban - Celebrate
Clara Berry And Wooldog - Air Traffic
Clara Berry And Wooldog - Stella
Clara Berry And Wooldog - Waltz For My Victims
Cnoc An Tursa - Bannockburn
Creepoid - OldTree
Cristina Vane - So Easy
Dark Ride - Burning Bridges
Detsky Sad - Walkie Talkie
Dreamers Of The Ghetto - Heavy Love
Drumtracks - Ghost Bitch
Enda Reilly - Cur An Long Ag Seol
Faces On Film - Waiting For Ga
Fergessen - Back From The Start
Fergessen - Nos Palpitants
Fergessen - The Wind
Flags - 54
Forkupines - Semantics
Georgia Wonder - Siren
Girls Under Glass - We Feel Alright
Giselle - Moss
Grants - PunchDrunk
Helado Negro - Mitad Del Mundo
Hezekiah Jones - Borrowed Heart
Hollow Ground - Ill Fate
Hollow Ground - Left Blind
Hop Along - Sister Cities
Invisible Familiars - Disturbing Wildlife
James Elder & Mark M Thompson - The English Actor
James May - All Souls Moon
James May - Dont Let Go
James May - If You Say
James May - On The Line
Jay Menon - Through My Eyes
Johnny Lokke - Promises & Lies
Johnny Lokke - Whisper To A Scream
Jokers, Jacks & Kings - Sea Of Leaves
Juliet's Rescue - Heartbeats
Leaf - Come Around
Leaf - Summerghost
Leaf - Wicked
Little Chicago's Finest - My Own
Louis Cressy Band - Good Time
Lushlife - Toynbee Suite
Lyndsey Ollard - Catching Up
M.E.R.C. Music - Knockout
Matthew Entwistle - Dont You Ever
Meaxic - Take A Step
Meaxic - You Listen
Moosmusic - Big Dummy Shake
Motor Tapes - Shore
Mu - Too Bright
Music Delta - 80s Rock
Music Delta - Beatles
Music Delta - Britpop
Music Delta - Country1
Music Delta - Country2
Music Delta - Disco
Music Delta - Gospel
Music Delta - Grunge
Music Delta - Hendrix
Music Delta - Punk
Music Delta - Reggae
Music Delta - Rock
Music Delta - Rockabilly
Nerve 9 - Pray For The Rain
Night Panther - Fire
North To Alaska - All The Same
Patrick Talbot - A Reason To Leave
Patrick Talbot - Set Me Free
Phre The Eon - Everybody's Falling Apart
Port St Willow - Stay Even
PR - Happy Daze
PR - Oh No
Punkdisco - Oral Hygiene
Raft Monk - Tiring
Remember December - C U Next Time
Sambasevam Shanmugam - Kaathaadi
Secret Mountains - High Horse
Secretariat - Borderline
Secretariat - Over The Top
Side Effects Project - Sing With Me
Signe Jakobsen - What Have You Done To Me
Skelpolu - Human Mistakes
Skelpolu - Resurrection
Skelpolu - Together Alone
Snowmine - Curfews
Speak Softly - Broken Man
Speak Softly - Like Horses
Spike Mullings - Mike's Sulking
St Vitus - Word Gets Around
Steven Clark - Bounty
Strand Of Oaks - Spacestation
Sweet Lights - You Let Me Down
Swinging Steaks - Lost My Way
The Districts - Vermont
The Doppler Shift - Atrophy
The Easton Ellises - Falcon 69
The Easton Ellises (Baumi) - SDRNR
The Long Wait - Back Home To Blue
The Long Wait - Dark Horses
The Mountaineering Club - Mallory
The Scarlet Brand - Les Fleurs Du Mal
The So So Glos - Emergency
The Sunshine Garcia Band - For I Am The Moon
The Wrong'Uns - Rothko
Tim Taler - Stalker
Timboz - Pony
Titanium - Haunted Age
Tom McKenzie - Directions
Traffic Experiment - Once More (With Feeling)
Traffic Experiment - Sirens
Triviul - Angelsaint
Triviul - Dorothy
Triviul feat. The Fiend - Widow
Voelund - Comfort Lives In Belief
Wall Of Death - Femme
We Fell From The Sky - Not You
Young Griffo - Blood To Bone
Young Griffo - Facade
Young Griffo - Pennies
Zeno - Signs
"""
"""The 150 songs, a line each, as https://sigsep.github.io/datasets/musdb.html lists them."""


def letters(name: str) -> str:
    """A name's letters and digits, to compare it by: copies of the set differ in the others.

    >>> letters("Jokers, Jacks & Kings - Sea Of Leaves")
    'jokersjackskingsseaofleaves'
    """
    composed = unicodedata.normalize("NFC", name).casefold()
    return "".join(character for character in composed if character.isalnum())


NAMES = frozenset(map(letters, SONGS.splitlines()))
"""The songs of MUSDB18, as :func:`letters` has them."""
